"""A small process that outlives its parent by a moment, to remove a server that the parent could not.

`Guard` starts it. It is run as a script, and then imports nothing of this package, and as little as it can: each
server has one. Its standard input is a pipe that only the parent holds. When the parent says "done", the parent
removed everything itself. When the pipe ends without a word, or the parent's place is taken by another, the parent
was killed, and the guardian removes:

    python -P guardian.py PARENT process FOLDER BINARY   every process of BINARY that lives in FOLDER, then FOLDER
    python -P guardian.py PARENT container NAME          the container of that name
"""

import os
import select
import signal
import sys
import time
from contextlib import suppress

_PATIENCE_S = 5.0


class Guard:
    """The parent's end of the pipe. Open it before the server is started, `dismiss` it after the server is removed."""

    def __init__(self, *duty: str) -> None:
        import subprocess

        self._guardian = subprocess.Popen(
            [sys.executable, "-P", __file__, str(os.getpid()), *duty],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal is for the parent
            cwd="/",
        )

    def dismiss(self) -> None:
        """Tell the guardian that nothing is left to do, and wait until it is gone."""
        with suppress(BrokenPipeError):  # somebody killed it
            self._guardian.communicate(b"done", timeout=10)


def remove_process(folder: str, binary: str) -> None:
    """Kill what runs `binary` in `folder`: no other process does, not even one that got its ID meanwhile."""
    import shutil

    import psutil

    def is_ours(process: psutil.Process) -> bool:
        try:
            # A dead process keeps its number until its parent asks for it.
            runs = process.status() != psutil.STATUS_ZOMBIE
            return runs and process.cwd() == folder and os.path.samefile(process.exe(), binary)  # noqa: PTH121
        except (psutil.Error, OSError):
            return False

    deadline = time.monotonic() + _PATIENCE_S
    while (ours := list(filter(is_ours, psutil.process_iter()))) and time.monotonic() < deadline:
        for process in ours:
            process.kill()
        time.sleep(0.01)
    shutil.rmtree(folder, ignore_errors=True)


def remove_container(name: str) -> None:
    """Remove the container with its volumes; one that the engine is just making is waited for."""
    import docker

    deadline = time.monotonic() + _PATIENCE_S
    engine = docker.from_env()
    while time.monotonic() < deadline:
        with suppress(docker.errors.DockerException):
            engine.containers.get(name).remove(force=True, v=True)
            return
        time.sleep(0.2)


def parent_is_done(parent: int) -> bool:
    """Wait for the parent's end; return whether it removed everything.

    A forked child may hold the pipe open, hence the look at the parent; it may be dead before the first look, hence
    its number.
    """
    while not select.select([0], [], [], 1.0)[0]:
        if os.getppid() != parent:
            return False
    return os.read(0, 4) == b"done"


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    parent, kind, *what = sys.argv[1:]
    if not parent_is_done(int(parent)):
        remove = remove_process if kind == "process" else remove_container
        remove(*what)
