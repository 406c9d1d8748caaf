"""Executing the notebooks, and keeping their outputs as young as their sources.

A committed notebook carries the outputs of one clean execution: a fresh kernel of this very interpreter, every cell in
turn, nothing in the outputs that tells of the machine. `execute(..., write=True)` makes them, `stale` tells when they
no longer fit.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from streamlab.errors import DataError, MissingError, StreamlabError, UsageError

if TYPE_CHECKING:
    from jupyter_client.manager import AsyncKernelManager

#: Called before each code cell with the number of those done, of all, and the first line of the cell; and once at
#: the end, with an empty line.
Progress: TypeAlias = Callable[[int, int, str], None]

_REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Result:
    """One notebook, executed to its end.

    Attributes:
        path: the notebook.
        cells: how many code cells ran.
        seconds: how long that took, the kernel's start included.
        written: whether its outputs were stored.
        notebook: nbformat's notebook with its outputs; as they came, if they were not stored.
    """

    path: Path
    cells: int
    seconds: float
    written: bool
    notebook: Any


class NotebookError(StreamlabError):
    """A notebook that does not run to its end, or whose outputs must not be stored.

    Attributes:
        cell: the number of the cell, counted from 1 over all cells; 0 if it is about none.
        traceback: what the kernel reported, as in Jupyter but without colours; empty if it reported nothing.
    """

    exit_code = 70

    def __init__(self, text: str, *, cell: int = 0, traceback: str = "") -> None:
        super().__init__(text)
        self.cell = cell
        self.traceback = traceback


def find_notebooks(names: Sequence[str] = (), *, folder: Path | None = None) -> list[Path]:
    """Return the notebooks of these names, in this order; all of them, sorted, for no name.

        find_notebooks(["00"])                        # by the number that its name begins with
        find_notebooks(["00_start_here"])             # by its name
        find_notebooks(["notebooks/mine.ipynb"])      # by its path

    Looked for in `folder`: if None, the notebooks/ of the checkout that this package stands in, else ./notebooks.

    Raises `MissingError` for a name that fits nothing, listing what there is, and `UsageError` for one that fits two.
    """
    by_path = {name: Path(name) for name in names if name.endswith(".ipynb") and Path(name).is_file()}
    if names and len(by_path) == len(set(names)):
        return list(by_path.values())
    folder = folder or _folder()
    there = sorted(path for path in folder.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
    if not there:
        raise MissingError(f"no notebooks in {folder}: run this in a checkout of streamlab, or give a notebook's path")
    if not names:
        return there
    return list(dict.fromkeys(by_path.get(name) or _named(name, there) for name in names))


def execute(path: Path, *, write: bool = False, progress: Progress | None = None, timeout: int = 600) -> Result:
    """Run a notebook from its first cell to its last, in a new kernel of this interpreter.

    It runs in the notebook's folder, with `STREAMLAB_NOTEBOOK=1` in its environment and none of the user's IPython
    configuration. Ctrl-C interrupts the cell, shuts the kernel down and raises KeyboardInterrupt.

    With `write` the outputs are stored in the notebook, by rename, without anything that another execution or
    another machine would change for no reason: times, addresses in memory, the paths of this machine. Without it,
    nothing on disk changes.

    Args:
        path: the notebook.
        write: store the outputs.
        progress: told about each code cell before it runs.
        timeout: seconds that one cell may take.

    Raises `NotebookError` for the first cell that fails, takes too long, or kills its kernel, and where an output that
    should be stored names a path of this machine; `MissingError` and `DataError` for a file that cannot be read.
    """
    began = time.monotonic()
    notebook = load(path)
    source = source_sha256(notebook)
    cells = [index for index, cell in enumerate(notebook.cells) if _has_code(cell)]
    asyncio.run(_run(notebook, path, cells, progress or (lambda done, of, line: None), timeout))
    if write:
        _normalise(notebook, path, source)
        if source_sha256(load(path)) != source:
            raise UsageError(f"{path.name} was changed while it ran, and its outputs were not stored: run it again")
        _store(notebook, path)
    return Result(path, len(cells), time.monotonic() - began, write, notebook)


def stale(path: Path) -> bool:
    """Whether the outputs in a notebook are not those of one clean execution of the code that it has now.

    Text may be edited freely: only code makes outputs.
    """
    notebook = load(path)
    counts = [cell.execution_count for cell in notebook.cells if _has_code(cell)]
    stored = notebook.metadata.get("streamlab", {}).get("source_sha256")
    return bool(stored != source_sha256(notebook) or counts != list(range(1, len(counts) + 1)))


def source_sha256(notebook: Any) -> str:
    """Return the hash over the code of a notebook, cell by cell, in order."""
    code = [cell.source for cell in notebook.cells if _has_code(cell)]
    return hashlib.sha256(json.dumps(code, ensure_ascii=True).encode()).hexdigest()


# Finding


def _folder() -> Path:
    in_checkout = _REPOSITORY / "notebooks"
    return in_checkout if (_REPOSITORY / "pyproject.toml").is_file() and in_checkout.is_dir() else Path("notebooks")


def _named(name: str, there: list[Path]) -> Path:
    fits = [path for path in there if name in (path.name, path.stem, path.stem.partition("_")[0])]
    if len(fits) == 1:
        return fits[0]
    if fits:
        raise UsageError(
            f"{name!r} is the name of several notebooks: {', '.join(map(str, fits))}; give the path of one"
        )
    raise MissingError(f"no notebook {name!r}; there are {', '.join(path.stem for path in there)}")


# Reading and storing


def load(path: Path) -> Any:
    """Return the notebook, with an id on each cell that does not depend on when it was read."""
    import nbformat

    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingError(f"no notebook {path}: check the path") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a notebook: {error}") from None
    cells = raw.get("cells") if isinstance(raw, dict) and raw.get("nbformat") == 4 else None
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise DataError(f"{path} is not a notebook of format 4: open it in JupyterLab and save it")
    raw["nbformat_minor"] = max(5, raw.get("nbformat_minor", 0))  # the first that has ids
    _give_ids(cells)
    try:
        nbformat.validate(raw)
    except nbformat.ValidationError as error:
        raise DataError(f"{path} is damaged: {str(error).splitlines()[0]}") from None
    return nbformat.v4.reads(json.dumps(raw))  # type: ignore[no-untyped-call]


def _give_ids(cells: list[dict[str, Any]]) -> None:
    """Name the cells that have no id of their own after what they say: a position changes with every new cell."""
    kept = {cell.get("id") for cell in cells}
    seen: set[str] = set()
    for cell in cells:
        if cell.get("id") is None or cell["id"] in seen:
            digest = hashlib.sha256("".join(cell.get("source", "")).encode()).hexdigest()[:8]
            names = (f"{digest}-{number}" if number else digest for number in itertools.count())
            cell["id"] = next(name for name in names if name not in kept | seen)
        seen.add(cell["id"])


def _has_code(cell: Any) -> bool:
    return cell.cell_type == "code" and bool(cell.source.strip())


def _store(notebook: Any, path: Path) -> None:
    import nbformat

    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        text: str = nbformat.writes(notebook)  # type: ignore[no-untyped-call]
        unfinished.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
        unfinished.chmod(path.stat().st_mode)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


# Running

_LOG = "kernel.log"


async def _run(notebook: Any, path: Path, cells: list[int], progress: Progress, timeout: int) -> None:
    from nbclient import NotebookClient

    # A socket's name has about a hundred bytes, and some temporary folders use most of them up.
    short = "/tmp" if len(tempfile.gettempdir()) > 60 else None
    with tempfile.TemporaryDirectory(prefix="streamlab-kernel-", dir=short) as temporary:
        private = Path(temporary)
        manager = _kernel_of_this_interpreter(private)
        client = NotebookClient(notebook, km=manager, timeout=timeout, coalesce_streams=True, record_timing=False)
        try:
            await _start(client, path, private)
            for done, index in enumerate(cells):
                progress(done, len(cells), notebook.cells[index].source.strip().partition("\n")[0])
                await _run_cell(client, path, private, index, done + 1)
            progress(len(cells), len(cells), "")
        finally:
            await _shut_down(client, manager)


def _kernel_of_this_interpreter(private: Path) -> AsyncKernelManager:
    """A kernel that no installed kernelspec can shadow: what "python3" names here may be another environment."""
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    class ThisInterpreter(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            # Frozen modules make ipykernel's debugger warn.
            command = [sys.executable, "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            return KernelSpec(argv=command, display_name="Python 3", language="python")

    return AsyncKernelManager(
        kernel_name="python3",
        kernel_spec_manager=ThisInterpreter(),
        connection_file=str(private / "kernel.json"),
        transport="ipc",  # sockets in the private folder: no port that somebody else takes first, no eavesdropper
    )


async def _start(client: Any, path: Path, private: Path) -> None:
    folder = str(path.resolve().parent)
    environment = os.environ | {"STREAMLAB_NOTEBOOK": "1", "IPYTHONDIR": str(private)}
    try:
        # What the kernel itself says, not its cells, is of interest only if it dies.
        with (private / _LOG).open("wb") as log:
            await client.async_start_new_kernel(cwd=folder, env=environment, stdout=log, stderr=log)
        await client.async_start_new_kernel_client()
    except RuntimeError as error:
        raise NotebookError(
            f"{path.name}: no kernel starts with {sys.executable} ({error}): pip install --force-reinstall ipykernel",
            traceback=_last_words(private),
        ) from error


async def _run_cell(client: Any, path: Path, private: Path, index: int, count: int) -> None:
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    cells = client.nb.cells
    place = f"{path.name}, cell {index + 1} of {len(cells)} (In [{count}])"
    try:
        await client.async_execute_cell(cells[index], index, execution_count=count)
    except CellExecutionError as error:
        # A message of many lines keeps its first: the rest is in the traceback.
        said = str(error.evalue).strip().partition("\n")[0]
        text = f"{place}: {error.ename}: {said}" if said else f"{place}: {error.ename}"
        raise NotebookError(text, cell=index + 1, traceback=_without_colours(_traceback(cells[index]))) from None
    except CellTimeoutError:
        text = f"{place}: took longer than {client.timeout} s, and was interrupted"
        raise NotebookError(text, cell=index + 1) from None
    except DeadKernelError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError from None  # nbclient takes Ctrl-C for the kernel's death
        text = f"{place}: the kernel died: killed, out of memory, or os._exit"
        raise NotebookError(text, cell=index + 1, traceback=_last_words(private)) from None


async def _shut_down(client: Any, manager: AsyncKernelManager) -> None:
    """End the kernel: by asking, so that what it started is cleaned up, and if that does not help, by force."""
    try:
        if manager.has_kernel and await manager.is_alive():
            # Interrupts first: a cell that still runs gets the chance that Ctrl-C gives it.
            await manager.shutdown_kernel()
    finally:
        if client.kc is not None:
            client.kc.stop_channels()
        await manager.cleanup_resources()


def _last_words(private: Path) -> str:
    """The end of what a kernel wrote to its terminal, a crash's own report among it."""
    return (private / _LOG).read_text(encoding="utf-8", errors="replace")[-4000:]


def _traceback(cell: Any) -> str:
    errors = [output for output in cell.outputs if output.output_type == "error"]
    return "\n".join(errors[-1].traceback) if errors else ""


def _without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


# What outputs must not tell

_VOLATILE = (
    (re.compile(r"\bipykernel_\d+/\d+\.py"), "cell.py"),
    (re.compile(r"\b0x[0-9a-f]{6,16}\b"), "0x…"),
)
_ABSOLUTE = re.compile(
    r"(?<![\w.…:/-])/(?:home|Users|root|tmp|private|var|usr|opt|srv|mnt|media|work|workspace|builds|app)/[\w.][^\s'\"<>,;]*"
)
_NOT_TEXT = re.compile(r"(image|audio|video)/(?!svg)|application/pdf")
_WIDGET = "application/vnd.jupyter.widget-view+json"


def machine_paths(notebook: Any) -> list[tuple[int, str]]:
    """Return the absolute paths in a notebook's outputs, each after the number of its cell, counted from 1."""
    return [
        (number, found)
        for number, cell in enumerate(notebook.cells, start=1)
        for output in cell.get("outputs", ())
        for text in _texts(output)
        for found in _ABSOLUTE.findall(text)
    ]


def _normalise(notebook: Any, path: Path, source: str) -> None:
    """Take out of a notebook what the next execution, or another machine, would change for no reason."""
    kept = {key: value for key, value in notebook.metadata.items() if key not in ("widgets", "vscode", "interpreter")}
    notebook.metadata = kept | {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "streamlab": kept.get("streamlab", {}) | {"source_sha256": source},
    }
    clean = _cleaner(path)
    for cell in notebook.cells:
        for key in ("execution", "ExecuteTime", "collapsed", "scrolled"):
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            cell.outputs = [_mapped(output, clean) for output in cell.outputs if not _lives(output)]
    for number, found in machine_paths(notebook):
        raise NotebookError(
            f"{path.name}, cell {number}: its output names {found!r}, a path of this machine, and was not stored: "
            "print a relative path",
            cell=number,
        )


def _lives(output: Any) -> bool:
    """Whether it is a widget, which is nothing without its kernel; one that is told in HTML too is from now on that."""
    data = output.get("data", {})
    return data.pop(_WIDGET, None) is not None and "text/html" not in data


def _cleaner(path: Path) -> Callable[[str], str]:
    """A function that takes the paths of this machine out of a text, the longest first."""
    folders = {
        Path(folder) for folder in (_REPOSITORY, path.parent, sys.prefix, sys.base_prefix, tempfile.gettempdir())
    }
    folders.add(Path.home())
    folders |= {folder.resolve() for folder in folders}
    named = sorted((str(folder) for folder in folders if len(folder.parts) > 1 and folder.is_absolute()), key=len)
    ours = re.compile(rf"(?<![\w.…/-])(?:{'|'.join(map(re.escape, reversed(named)))})(?![\w-])")

    def clean(text: str) -> str:
        text = ours.sub("…", text)
        for pattern, instead in _VOLATILE:
            text = pattern.sub(instead, text)
        return text

    return clean


def _texts(value: Any) -> list[str]:
    """All texts inside an output, pictures and sounds left out."""
    found: list[str] = []

    def keep(text: str) -> str:
        found.append(text)
        return text

    _mapped(value, keep)
    return found


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """An output with each text inside it changed, pictures and sounds left alone."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        changed = {key: item if _NOT_TEXT.match(key) else _mapped(item, change) for key, item in value.items()}
        return type(value)(changed)
    if isinstance(value, list):
        return [_mapped(item, change) for item in value]
    return value
