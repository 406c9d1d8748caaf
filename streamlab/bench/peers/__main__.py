"""Start a private server, make the peers' environments, run every peer in turns, print a table.

A peer that waits for a round trip for each job or batch runs up to three times as fast where the kernel puts it on the
same core as Redis: run `taskset -c 0 python -m streamlab.bench.peers` to put all on one.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console

from streamlab.errors import StreamlabError, UsageError
from streamlab.servers import Server, open_server


class Peer(NamedTuple):
    """A peer's script in this folder, the jobs of a run (2 to 5 s of work), and the pins of its environment.

    Without pins it runs in streamlab's own environment. `python` is the oldest that it runs on.
    """

    script: str
    messages: int
    pins: tuple[str, ...] = ()
    batch: bool = False
    python: tuple[int, int] = (3, 11)


# Every peer on redis-py gets the parser that streamlab has. saq and repid do not accept redis-py 8, and import
# typing_extensions without requiring it.
_REDIS = ("redis==8.1.0", "hiredis==3.5.0")
_REDIS_7 = ("redis==7.4.1", "hiredis==3.5.0", "typing-extensions==4.16.0")
_FASTSTREAM = ("faststream==0.7.8", *_REDIS)
PEERS = {
    "raw": Peer("peer_raw", 800_000),
    "streamlab": Peer("peer_streamlab", 800_000),
    "walrus": Peer("peer_walrus", 500_000, ("walrus==0.9.8", *_REDIS)),
    "faststream": Peer("peer_faststream", 10_000, _FASTSTREAM),
    "faststream-batch": Peer("peer_faststream", 150_000, _FASTSTREAM, batch=True),
    "taskiq": Peer("peer_taskiq", 8_000, ("taskiq==0.13.0", "taskiq-redis==1.2.4", *_REDIS)),
    "saq": Peer("peer_saq", 6_000, ("saq==0.26.4", *_REDIS_7)),
    "huey": Peer("peer_huey", 8_000, ("huey==3.5.4", *_REDIS)),
    "repid": Peer("peer_repid", 25_000, ("repid==2.1.4", *_REDIS_7)),
    "ardiq": Peer("peer_ardiq", 40_000, ("ardiq==1.2.0", "msgpack==1.2.4"), python=(3, 12)),
}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
_told = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


@app.command(
    epilog="Examples: [bold]python -m streamlab.bench.peers[/bold] · "
    "[bold]python -m streamlab.bench.peers walrus repid --rounds 5[/bold] · "
    "[bold]python -m streamlab.bench.peers --envs build/peers --json[/bold]"
)
def peers(
    names: Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(PEERS)}. Default: all.")] = None,
    messages: Annotated[int | None, typer.Option(min=1000, help="Jobs a run. Default: 2 to 5 s of work.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; the medians count.")] = 3,
    envs: Annotated[Path | None, typer.Option(help="Folder of the environments. Default: in the cache.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON, for scripts.")] = False,
) -> None:
    """Measure how fast queue libraries on Redis drain jobs that do nothing, beside a raw redis-py loop.

    The raw loop runs in every round. A missing environment is made first, with pip.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up as after Ctrl-C
    folder = envs or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamlab" / "peers"
    pythons, skipped = {}, {}
    try:
        if unknown := set(names or ()) - set(PEERS):
            raise UsageError(f"unknown peer {min(unknown)!r}: use {', '.join(PEERS)}")
        for name, peer in PEERS.items():
            if name == "raw" or not names or name in names:
                try:
                    pythons[name] = _environment(peer, folder.absolute())
                except StreamlabError as error:
                    skipped[name] = str(error)
        with open_server("process", say=_told.print) as server:
            rows = _measure(server, pythons, skipped, messages, rounds)
    except StreamlabError as error:
        _told.print(f"streamlab: {error}")
        raise typer.Exit(error.exit_code) from error
    if as_json:
        typer.echo(json.dumps({"rows": rows, "skipped": skipped}, indent=2))
        return
    line = "{peer:<17}{version:<9}{python:<7}{rate:>11,.0f}{ratio:>7.3f}  {settings}"
    typer.echo("peer             version  Python  messages/s  ratio  settings")
    typer.echo(
        "\n".join([line.format(**row) for row in rows] + [f"{name:<17}skipped: {skipped[name]}" for name in skipped])
    )


def _environment(peer: Peer, folder: Path) -> str:
    """Return the Python of the peer's environment; make it if it is missing, incomplete, or has other pins."""
    if not peer.pins:
        return sys.executable
    home, pins = folder / peer.script, "\n".join(peer.pins)
    python, stamp = home / "bin" / "python", home / "pins.txt"
    if not (python.exists() and stamp.exists() and stamp.read_text() == pins):
        _told.print(f"making the environment of {peer.script}: {', '.join(peer.pins)}")
        _call([_interpreter(peer.python), "-m", "venv", "--clear", str(home)])
        _call([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *peer.pins])
        stamp.write_text(pins)
    return str(python)


def _interpreter(oldest: tuple[int, int]) -> str:
    """Return a Python of at least that version: this one, one on PATH, or one of pyenv."""
    on_path = (shutil.which(f"python3.{minor}") for minor in range(oldest[1], oldest[1] + 4))
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv").glob("versions/3.*/bin/python")
    for python in filter(None, (sys.executable, *on_path, *map(str, pyenv))):
        with suppress(StreamlabError):  # a command of pyenv on PATH fails for a version that is not selected
            _call([python, "-c", f"import sys, venv; sys.exit(sys.version_info < {oldest})"])
            return python
    raise StreamlabError(f"needs Python {oldest[0]}.{oldest[1]} or newer, and this machine has none")


def _measure(
    server: Server, pythons: dict[str, str], skipped: dict[str, str], messages: int | None, rounds: int
) -> list[dict[str, Any]]:
    """Run every peer once a round and return one row for each; a peer that fails moves to `skipped`."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in pythons}
    for number in range(1, rounds + 1):
        for name in list(runs):
            try:
                run = _run(server, PEERS[name], pythons[name], messages)
            except StreamlabError as error:
                if name == "raw":  # nothing to compare with
                    raise
                skipped[name] = str(error).replace(server.url, server.safe_url)
                del runs[name]
                continue
            runs[name].append(run)
            run["rate"] = run["messages"] / run["seconds"]
            run["ratio"] = run["rate"] / runs["raw"][-1]["rate"]
            _told.print(f"round {number} of {rounds}: {name}, {run['rate']:,.0f} messages/s")
    return [
        {"peer": name} | some[-1] | {key: median(run[key] for run in some) for key in ("seconds", "rate", "ratio")}
        for name, some in runs.items()
    ]


def _run(server: Server, peer: Peer, python: str, messages: int | None) -> dict[str, Any]:
    with server.client(socket_timeout=60) as client:
        client.flushall()  # the server is ours, and some peers choose keys that no prefix reaches
    task = {"url": server.url, "key": "jobs", "messages": messages or peer.messages, "batch": peer.batch}
    output = _call([python, "-B", str(Path(__file__).with_name(f"{peer.script}.py"))], json.dumps(task))
    answer: dict[str, Any] = json.loads(output.splitlines()[-1])
    return answer


def _call(command: Sequence[str], given: str = "", timeout: float = 300) -> str:
    """Run a command within `timeout` seconds with `given` as its standard input; return its standard output.

    Standard input is for the URL: a command line would show its password. Raises `StreamlabError` if the command fails.
    """
    pipe = subprocess.PIPE
    # A session of its own: Ctrl-C reaches this process alone, which then kills the child and what the child started.
    child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    try:
        output, errors = child.communicate(given, timeout)
    except subprocess.TimeoutExpired:
        raise StreamlabError(f"did not finish within {timeout:.0f} s") from None
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
    if child.returncode:
        raise StreamlabError((errors.strip() or f"exit status {child.returncode}").splitlines()[-1])
    return output


if __name__ == "__main__":
    app()
