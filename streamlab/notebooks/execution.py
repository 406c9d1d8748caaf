"""A clean execution: a fresh kernel of this very interpreter, every cell in turn, nothing left behind."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from streamlab.errors import UsageError
from streamlab.notebooks.notebook import has_code, load, source_sha256, store
from streamlab.notebooks.outputs import NotebookError, normalise

if TYPE_CHECKING:
    from jupyter_client.manager import AsyncKernelManager

#: Called before each code cell with the number of those done, of all, and the first line of the cell; and once at
#: the end, with an empty line.
Progress: TypeAlias = Callable[[int, int, str], None]

_LOG = "kernel.log"


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
    cells = [index for index, cell in enumerate(notebook.cells) if has_code(cell)]
    asyncio.run(_run(notebook, path, cells, progress or (lambda done, of, line: None), timeout))
    if write:
        normalise(notebook, path, source)
        if source_sha256(load(path)) != source:
            raise UsageError(f"{path.name} was changed while it ran, and its outputs were not stored: run it again")
        store(notebook, path)
    return Result(path, len(cells), time.monotonic() - began, write, notebook)


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
