"""A small process that outlives its parent by a moment, to remove a server that the parent could not.

Run as a script, with nothing of this package imported. Its standard input is a pipe that only the parent holds: when
the parent says "done" it took everything away itself; when the pipe ends without a word, or the parent's place is
taken by another, the parent was killed, and the guardian does it:

    python -P guardian.py PARENT process FOLDER BINARY   every process of BINARY that lives in FOLDER, then FOLDER
    python -P guardian.py PARENT container NAME          the container of that name
"""

import os
import select
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

PATIENCE_S = 5.0


def wait_for_the_end(parent: int) -> bool:
    """Return whether the parent said goodbye.

    A forked child may hold the pipe open, hence the look at the parent; it may be dead before the first look, hence
    its number.
    """
    while not select.select([0], [], [], 1.0)[0]:
        if os.getppid() != parent:
            return False
    return os.read(0, 4) == b"done"


def remove_process(folder: str, binary: str) -> None:
    """Kill what runs `binary` with `folder` as its place; nothing else has both, whoever got its number meanwhile."""
    import psutil

    killed = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.cwd() == folder and Path(process.exe()).samefile(binary):
                process.kill()
                killed.append(process)
    # Not by their number, which a dead process keeps until somebody asks for it.
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and any(map(is_alive, killed)):
        time.sleep(0.01)
    shutil.rmtree(folder, ignore_errors=True)


def is_alive(process: "psutil.Process") -> bool:
    """Return whether the process still does anything."""
    import psutil

    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def remove_container(name: str) -> None:
    """Remove the container with its volumes; one that the engine is just making is waited for."""
    import docker

    deadline = time.monotonic() + PATIENCE_S
    engine = docker.from_env()
    while True:
        try:
            engine.containers.get(name).remove(force=True, v=True)
            return
        except docker.errors.DockerException:
            if time.monotonic() > deadline:
                return
            time.sleep(0.2)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    parent, kind, *what = sys.argv[1:]
    if not wait_for_the_end(int(parent)):
        if kind == "process":
            remove_process(*what)
        else:
            remove_container(*what)
