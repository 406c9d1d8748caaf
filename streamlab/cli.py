"""The command line. Exit codes: 0 valid, 1 invalid, 2 unknown; 64 and above what the user can mend; 130 Ctrl-C."""

from __future__ import annotations

import atexit
import gc
import json
import os
import secrets
import shlex
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from streamlab.errors import DataError, MissingError, PermissionRefusedError, StreamlabError, UsageError

if TYPE_CHECKING:
    from streamlab.lab.progress import Watcher
    from streamlab.report import Run

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="A laboratory for Redis Streams: run a real queue, break it on purpose, see what became of every message.",
    epilog="Begin with [bold]streamlab tour[/bold], then [bold]streamlab lab[/bold].",
)
_told = Console(stderr=True, highlight=False, soft_wrap=True)  # what happens; the answer itself goes to standard output
_answer = Console(highlight=False, soft_wrap=True)

Server = Annotated[
    str,
    typer.Option(
        help="auto, process, container, an image such as redis:7.0, or a URL such as redis://localhost:6379/0",
        metavar="WHERE",
        envvar="STREAMLAB_SERVER",
    ),
]
Folder = Annotated[Path, typer.Argument(help="The folder of a run.")]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON, for scripts.")]


@app.command(
    epilog="Examples: [bold]streamlab tour[/bold] · [bold]streamlab tour --server container --out my-tour[/bold]"
)
def tour(
    server: Server = "auto",
    out: Annotated[Path | None, typer.Option(help="A new folder for the results; by default one in runs/.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the times at which the tasks arrive.")] = 1,
    as_json: Json = False,
) -> None:
    """Resize 120 photographs with three workers, kill one of them, and see that nothing is lost.

    Exit code 0: valid, 1: invalid, 2: unknown.
    """
    from streamlab.lab.lab import Lab
    from streamlab.tour import experiment

    with Lab(server, say=_say) as lab, _bar("resizing") as progress:
        finished = lab.run(experiment(seed), out=out or _runs_folder("tour"), progress=progress)
    finished.save_pictures()
    _finish(finished, as_json)


@app.command(
    epilog="Examples: [bold]streamlab run zombie[/bold] · "
    "[bold]streamlab run kill --workers 5 --rate 200 --repeat 10[/bold] · "
    "[bold]streamlab run kill --worker mine:work[/bold] · [bold]streamlab run mine.toml --set claim_after=2[/bold]"
)
def run(  # noqa: PLR0917 - typer calls it by name
    which: Annotated[str, typer.Argument(help="A scenario (see streamlab scenarios), or a TOML file of your own.")],
    server: Server = "auto",
    out: Annotated[Path | None, typer.Option(help="A new folder for the results; by default one in runs/.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the file's.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes.")] = None,
    rate: Annotated[float | None, typer.Option(help="Messages a second.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Messages in all.")] = None,
    worker: Annotated[
        str | None,
        typer.Option(
            help="The worker under study, a function work(client, stream, group, consumer, handle).",
            metavar="MODULE:FUNCTION",
        ),
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="Another value for a key of the file.", metavar="KEY=VALUE")
    ] = None,
    repeat: Annotated[int, typer.Option(min=1, help="So many runs, each with the next seed.")] = 1,
    as_json: Json = False,
) -> None:
    """Run an experiment, judge it and draw it.

    Exit code 0: valid, 1: invalid, 2: unknown. The same seed gives the same jobs, due times and faults; which worker
    gets which job is up to the scheduler.
    """
    from streamlab.lab.experiment import Experiment
    from streamlab.lab.lab import Lab
    from streamlab.scenarios import find
    from streamlab.servers import mask

    named = {"workers": workers, "rate": rate, "count": count, "worker": worker, "seed": seed}
    named = {name: value for name, value in named.items() if value is not None}
    sys.path.insert(0, str(Path.cwd()))  # a worker's module may be here, as for `python -m`
    experiment = Experiment.load(find(which), setting or []).but(**named)
    out = out or _runs_folder(experiment.name)
    with Lab(server, say=_say) as lab, _bar(experiment.name) as progress:
        if repeat == 1:
            finished = lab.run(experiment, out=out, progress=progress)
        else:
            again = ["streamlab", "run", which] + ([] if server == "auto" else ["--server", mask(server)])
            again += [text for name, value in named.items() if name != "seed" for text in (f"--{name}", str(value))]
            again += [text for one in setting or [] for text in ("--set", one)]
            repeats = lab.repeat(experiment, repeat, out=out, progress=progress, command=shlex.join(again))
    if repeat > 1:
        if as_json:
            typer.echo(json.dumps(repeats.as_dict(), indent=2))
        else:
            _answer.print(str(repeats), markup=False)
            _answer.print(f"written to {repeats.folder}: a folder for each seed", markup=False)
        raise typer.Exit(repeats.exit_code)
    finished.save_pictures()
    _finish(finished, as_json)


@app.command(epilog="Example: [bold]streamlab scenarios --json[/bold]")
def scenarios(as_json: Json = False) -> None:
    """List the experiments that come with streamlab, each with the question that it answers."""
    from rich.table import Table

    from streamlab.scenarios import describe

    rows = describe()
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("scenario", "question", "guarantee"):
        table.add_column(heading, no_wrap=heading != "question")
    for row in rows:
        table.add_row(row["name"], row["question"], row["guarantee"])
    Console(highlight=False).print(table)
    _answer.print("\nrun one with [bold]streamlab run NAME[/bold]")


@app.command(epilog="Example: [bold]streamlab check runs/tour-20270101-120000-1a2b[/bold]")
def check(folder: Folder, as_json: Json = False) -> None:
    """Judge a saved run again, without Redis. Exit code 0: valid, 1: invalid, 2: unknown."""
    from streamlab.report import Run

    _finish(Run(folder), as_json)


@app.command(epilog="Example: [bold]streamlab plot runs/tour-20270101-120000-1a2b[/bold]")
def plot(folder: Folder) -> None:
    """Draw a saved run again, without Redis."""
    from streamlab.report import Run

    for path in Run(folder).save_pictures():
        _answer.print(str(path), markup=False)


@app.command(epilog="Example: [bold]streamlab report runs/tour-20270101-120000-1a2b[/bold]")
def report(folder: Folder) -> None:
    """Write all that is known of a saved run into one HTML file, which opens without a network."""
    from streamlab.report import Run

    _answer.print(str(Run(folder).report()), markup=False)


@app.command(epilog="Examples: [bold]streamlab message runs/tour 7[/bold] · [bold]... 1795482250248-0[/bold]")
def message(folder: Folder, which: Annotated[str, typer.Argument(help="An entry ID, or the number of a job.")]) -> None:
    """Print the trace of one message of a saved run: every event from its due time on, and who held it."""
    from streamlab.report import Run

    _answer.print(str(Run(folder).message(which)), markup=False)


@app.command(epilog="Example: [bold]streamlab doctor --json | jq .servers[].version[/bold]")
def doctor(as_json: Json = False) -> None:
    """Tell what this machine offers: servers and what they can do, Docker or why not, what is missing and the fix."""
    from streamlab.doctor import describe, examine

    with _told.status("looking, and starting each server for a moment ..."):
        report = examine()
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    else:
        describe(report, _answer)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    epilog="Example: [bold]streamlab lab --no-browser --port 9999[/bold]",
)
def lab(context: typer.Context) -> None:
    """Open JupyterLab on the notebooks. Options are handed to jupyter lab."""
    from streamlab.notebooks import copy_course, find_notebooks

    if copied := copy_course():
        _say(f"the notebooks are in {copied}; copied are only those that were not there yet")
    folder = find_notebooks()[0].parent
    command = [sys.executable, "-m", "jupyterlab", f"--notebook-dir={folder}", *context.args]
    os.execv(command[0], command)  # its signals, its exit code, its token: nothing of ours in between


@app.command(
    epilog="Examples: [bold]streamlab notebooks[/bold] · [bold]streamlab notebooks 00 --write[/bold] · "
    "[bold]streamlab notebooks --html site[/bold]"
)
def notebooks(
    names: Annotated[
        list[str] | None, typer.Argument(help="Which: 00, 00_start_here, or a path. Default: all.")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Store the outputs in the notebooks.")] = False,
    server: Annotated[
        str | None, typer.Option(help="The Redis that they use: process, container, or a URL.", metavar="WHERE")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="Execute nothing: write the stored outputs as static pages into this folder.", metavar="DIR"),
    ] = None,
) -> None:
    """Execute notebooks in clean kernels; fails at the first error."""
    from streamlab.notebooks import NotebookError, execute, find_notebooks

    found = find_notebooks(names or [])
    if html:
        from streamlab.notebooks.site import write_site

        if write or server:
            raise UsageError("--html executes nothing: run streamlab notebooks --write before, without --html")
        _answer.print(str(write_site(found, html)), markup=False)
        return
    if server:
        os.environ["STREAMLAB_SERVER"] = server
    for path in found:
        began = time.monotonic()
        with _bar(path.stem) as progress:
            try:
                executed = execute(path, write=write, progress=_steps(progress))
            except NotebookError as error:
                if error.traceback:
                    _told.print(error.traceback, markup=False)
                raise
        ran = sum(bool(cell.get("execution_count")) for cell in executed.cells)
        _answer.print(f"{path.name}: {ran} cells in {time.monotonic() - began:.0f} s" + (", stored" if write else ""))


@app.command(
    epilog="Examples: [bold]streamlab bench[/bold] · "
    "[bold]streamlab bench queue --server process --messages 200000[/bold]"
)
def bench(
    groups: Annotated[
        list[str] | None, typer.Argument(help="Of queue, looking, recovery, peers. Default: the first three.")
    ] = None,
    server: Server = "process",
    messages: Annotated[int, typer.Option(min=1000, help="Messages a measurement.")] = 100_000,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; the median ratio counts.")] = 5,
    as_json: Json = False,
) -> None:
    """Measure both sides of each comparison on one server: the queue, the cost of looking at it, recovery, peers."""
    from streamlab.bench import bench as measure
    from streamlab.bench import describe
    from streamlab.servers import open_server

    with open_server(server, say=_say) as opened, _bar("measuring") as progress:
        rows = measure(opened, groups or [], messages=messages, rounds=rounds, progress=_steps(progress))
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        describe(rows, _answer)


def _runs_folder(name: str) -> Path:
    """Return a new folder in runs/ for what nobody named a folder for."""
    return Path("runs") / f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def _finish(run: Run, as_json: bool) -> None:
    """Save and say the verdict, say what is in which file and what to open next; exit with the verdict's code."""
    verdict = run.verdict
    run.save_verdict()
    if as_json:
        typer.echo(json.dumps(verdict.as_dict() | {"folder": str(run.folder)}, indent=2))
    else:
        colour = {"valid": "green", "invalid": "red"}.get(verdict.verdict, "yellow")
        _answer.print(f"\n{verdict}", style=f"bold {colour}", markup=False)
        for reason in verdict.reasons:
            _answer.print(f"  {reason}", markup=False)
        _answer.print(f"\nwritten to {run.folder}:", markup=False)
        for name, what in _FILES:
            if (run.folder / name).exists():
                _answer.print(f"  {name:<15} {what}")
        _answer.print(
            f"\nnext: look at the pictures, all in one page with streamlab report {run.folder};", markup=False
        )
        _answer.print("then [bold]streamlab lab[/bold], and open 00_start_here.ipynb")
    raise typer.Exit(verdict.exit_code)


_FILES = (
    ("verdict.json", "the verdict, its counts, and the evidence by entry ID"),
    ("pel.png", "who held how many messages, and when"),
    ("latency.png", "how long each message took, from its due time to done"),
    ("lanes.png", "a lane a worker, a bar a message, an arrow a claim"),
    ("backlog.png", "what was not read yet, and the stream's length"),
    ("rate.png", "messages a second: added, done, delivered again"),
    ("events/", "the event logs: every checkpoint of every message"),
)


def _steps(progress: Watcher) -> Callable[[int, int], None]:
    from streamlab.lab.progress import Progress

    return lambda finished, total: progress(Progress(finished, total))


def _say(line: str) -> None:
    _told.print(f"· {line}", markup=False)


def _bar(what: str) -> AbstractContextManager[Watcher]:
    """A progress bar on standard error."""
    from streamlab.lab.progress import bar

    return bar(what, _told)


def main() -> None:
    """Entry point: what the user can mend is said in one line, without a traceback."""
    click_error: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
    atexit.register(gc.freeze)  # else Python looks through every object of pandas and matplotlib as it ends: 0.1 s
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, by way of every clean-up
    try:
        code = app(standalone_mode=False)
        if code == 130:  # typer's word for Ctrl-C
            raise KeyboardInterrupt
    except StreamlabError as error:
        code = _fail(str(error), error.exit_code)
    except click_error as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # the help was the answer
            sys.exit(UsageError.exit_code)
        hint = f" (streamlab {error.ctx.info_name} --help)" if getattr(error, "ctx", None) else ""
        code = _fail(error.format_message() + hint, UsageError.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = _fail("interrupted: everything that was started is stopped", 130)
    except BrokenPipeError:  # whoever read our output has heard enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except OSError as error:  # a file that is not there, or must not be read or written; a full disk
        kinds = {FileNotFoundError: MissingError, PermissionError: PermissionRefusedError}
        where = f"{error.filename2 or error.filename}: " if error.filename else ""
        code = _fail(f"{where}{error.strerror or error}", kinds.get(type(error), DataError).exit_code)
    sys.exit(code or 0)


def _fail(text: str, code: int) -> int:
    if text:
        _told.print("[bold red]streamlab:[/]", escape(" ".join(text.split())))
    return code
