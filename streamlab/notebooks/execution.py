"""A clean execution: a new kernel of this interpreter, every cell in turn, nothing left behind."""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from streamlab.errors import StreamlabError, UsageError
from streamlab.history.files import write_whole
from streamlab.notebooks.clean import clean
from streamlab.notebooks.files import load, source_sha256

#: Called before each cell, and at the end, with the number of those done and of all.
Progress: TypeAlias = Callable[[int, int], None]


class NotebookError(StreamlabError):
    """A notebook that does not run to its end; with the kernel's traceback."""

    def __init__(self, text: str, traceback: str = "") -> None:
        super().__init__(text)
        self.traceback = traceback


def execute(path: Path, *, write: bool = False, progress: Progress = lambda *_: None, timeout: int = 600) -> Any:
    """Run a notebook in its folder, in a new kernel of this interpreter, and return it with its outputs.

    `STREAMLAB_NOTEBOOK=1` is in its environment, and the user's IPython configuration is not read. `timeout` is in
    seconds a cell. With `write` the outputs are stored in the notebook, without what another execution or another
    machine would change; else nothing on disk changes.

    Raises `NotebookError` for the first cell that fails, takes too long or kills its kernel; `MissingError` and
    `DataError` for a file that cannot be read.
    """
    import nbformat

    notebook = load(path)
    source = source_sha256(notebook)
    asyncio.run(_run(notebook, path, progress, timeout))
    if write:
        clean(notebook)
        if source_sha256(load(path)) != source:
            raise UsageError(f"{path.name} was changed while it ran, and its outputs were not stored: run it again")
        notebook.metadata.setdefault("streamlab", {})["source_sha256"] = source
        write_whole(path, (nbformat.writes(notebook).rstrip("\n") + "\n").encode())  # type: ignore[no-untyped-call]
    return notebook


async def _run(notebook: Any, path: Path, progress: Progress, timeout: int) -> None:
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    # The name of a socket has at most about 100 bytes, and some temporary folders use most of them.
    short = "/tmp" if len(tempfile.gettempdir()) > 60 else None
    with tempfile.TemporaryDirectory(prefix="streamlab-kernel-", dir=short) as private:
        manager = AsyncKernelManager(
            kernel_name="python3",
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),  # an installed "python3" may be another environment
            connection_file=f"{private}/kernel.json",
            transport="ipc",  # no port that another kernel takes first
        )
        client = NotebookClient(notebook, km=manager, timeout=timeout, coalesce_streams=True, record_timing=False)
        log, cells, number = Path(private, "kernel.log"), notebook.cells, 0
        try:
            with log.open("wb") as out:  # what the kernel itself writes is of interest only if it dies
                environment = os.environ | {"STREAMLAB_NOTEBOOK": "1", "IPYTHONDIR": private}
                folder = str(path.resolve().parent)
                await client.async_start_new_kernel(cwd=folder, env=environment, stdout=out, stderr=out)
            await client.async_start_new_kernel_client()
            for number, cell in enumerate(cells, start=1):
                progress(number - 1, len(cells))
                await client.async_execute_cell(cell, number - 1, execution_count=client.code_cells_executed + 1)
            progress(len(cells), len(cells))
        except Exception as error:
            task = asyncio.current_task()
            if task and task.cancelling():
                raise asyncio.CancelledError from None  # nbclient takes Ctrl-C for the kernel's death
            place = f"{path.name}, cell {number} of {len(cells)} (In [{client.code_cells_executed}])"
            raise _failure(error, place, timeout, log.read_text(errors="replace")[-4000:]) from None
        finally:
            if manager.has_kernel and await manager.is_alive():
                await manager.shutdown_kernel()  # interrupts the cell first, so that it can clean up
            if client.kc is not None:
                client.kc.stop_channels()
            await manager.cleanup_resources()


def _failure(error: Exception, place: str, timeout: int, log: str) -> Exception:
    """Return what happened in one line; `log` is what the kernel wrote to its terminal."""
    from nbclient.exceptions import CellExecutionError, CellTimeoutError

    if isinstance(error, CellExecutionError):
        said = f"{error.ename}: {error.evalue}".strip(": ").partition("\n")[0]
        return NotebookError(f"{place}: {said}", re.sub(r"\x1b\[[0-9;]*m", "", error.traceback))
    if isinstance(error, CellTimeoutError):
        return NotebookError(f"{place}: took longer than {timeout} s, and was interrupted")
    if isinstance(error, RuntimeError):  # among them nbclient's DeadKernelError
        return NotebookError(f"{place}: the kernel died, or does not start: killed, out of memory, os._exit", log)
    return error
