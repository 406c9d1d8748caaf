"""The processes of a run: started, found ready, killed, replaced, stopped. None outlives it."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import cloudpickle
import psutil

from streamlab.errors import ServerError, UsageError
from streamlab.lab.child import Task, write_order
from streamlab.observe.journal import Journal

_START = 30.0  # seconds that a child may take to come up: the machine may be busy
_STOP = 5.0  # seconds that a child may take to finish what it holds


class Child:
    """One process, doing one task."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.log = task.folder / "logs" / f"{task.name}.{task.incarnation}.log"
        self.log.parent.mkdir(exist_ok=True)
        self.ended = False  # by us, or known to have ended by itself
        try:
            order = cloudpickle.dumps(task)
        except Exception as error:  # pickle raises whatever it likes
            raise UsageError(f"the handler cannot be sent to a worker process: {error}") from error
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streamlab.lab.child"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the lab, which then stops its children in order. A group and no session of its own: when
                # the lab is killed, the kernel wakes a child that stands still (SIGSTOP), and hangs up on it.
                process_group=0,
                env=os.environ | {"PYTHONPATH": _package_path(), "OMP_NUM_THREADS": "1"},
            )
        self.tell(pickle.dumps(sys.path))
        self.tell(order)

    @property
    def orders(self) -> IO[bytes]:
        """The pipe to the child."""
        assert self.process.stdin is not None
        return self.process.stdin

    def tell(self, data: bytes) -> None:
        """Send something to the child; one that has died is noticed elsewhere."""
        if not self.orders.closed:
            with contextlib.suppress(BrokenPipeError):
                write_order(self.orders, data)  # type: ignore[arg-type]

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None

    @property
    def ready(self) -> bool:
        """Whether its journal is open, which is the last thing before its work."""
        return (self.task.folder / "events" / f"{self.task.name}.{self.task.incarnation}.events").exists()

    def order(self, order: object) -> None:
        """Tell it something that it obeys while it works."""
        self.tell(pickle.dumps(order))

    def freeze(self) -> None:
        """SIGSTOP, and wait until the process stands still."""
        self.process.send_signal(signal.SIGSTOP)
        while not self.still:
            time.sleep(0.0005)

    @property
    def still(self) -> bool:
        """Whether the process does nothing at all: it is stopped, or has ended."""
        return psutil.Process(self.process.pid).status() in {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}

    def thaw(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    def last_words(self) -> str:
        """The last line that it printed."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it printed nothing"

    def end(self, number: signal.Signals, patience: float = _STOP) -> None:
        """Send a signal and wait for the end; SIGKILL when it takes longer than `patience` seconds."""
        self.ended = True
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        with contextlib.suppress(BrokenPipeError):
            self.orders.close()


class Crew:
    """The children of a run, by name; each start and end is written to the lab's journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._children: dict[str, Child] = {}

    def __getitem__(self, name: str) -> Child:
        return self._children[name]

    def start(self, task: Task) -> Child:
        """Start a process in the place of the earlier one of its name, which must have ended."""
        if earlier := self._children.get(task.name):
            self._gone(earlier)
            earlier.end(signal.SIGKILL)  # closes our end of its pipe
        child = Child(task)
        self._children[task.name] = child
        note = f"pid {child.process.pid}, incarnation {task.incarnation}"
        self._journal.write("worker_up", note=f"{task.name}: {note}")
        return child

    def wait_ready(self, seconds: float = _START) -> None:
        """Wait until all are at work. Raises ServerError with the last words of one that died on the way."""
        deadline = time.monotonic() + seconds
        waiting = list(self._children.values())
        while waiting:
            for child in waiting:
                if not child.alive:
                    raise ServerError(f"{child.task.name} did not start ({child.last_words()}); see {child.log}")
            waiting = [child for child in waiting if not child.ready]
            if waiting and time.monotonic() > deadline:
                raise ServerError(f"{waiting[0].task.name} did not start within {seconds:g} s; see {waiting[0].log}")
            if waiting:
                time.sleep(0.01)

    def kill(self, name: str) -> None:
        """SIGKILL."""
        self._children[name].end(signal.SIGKILL)
        self._journal.write("worker_exit", note=f"{name}: killed")

    def stop(self, name: str) -> None:
        """SIGTERM, and wait until it has finished what it holds."""
        child = self._children[name]
        if child.alive:
            child.end(signal.SIGTERM)
            self._journal.write("worker_exit", note=f"{name}: status {child.process.returncode}")

    def dead(self) -> list[Child]:
        """Workers that ended without being told to, each named once."""
        return [child for child in self._children.values() if self._gone(child) and child.process.returncode]

    def _gone(self, child: Child) -> bool:
        """Whether it has ended by itself, and nobody has noticed so far."""
        if child.alive or child.ended:
            return False
        child.ended = True
        self._journal.write("worker_exit", note=f"{child.task.name}: status {child.process.returncode}")
        return True

    def close(self) -> None:
        """SIGKILL whatever still runs."""
        for child in self._children.values():
            child.end(signal.SIGKILL)


def _package_path() -> str:
    """So that a child finds this package, wherever it was imported from."""
    here = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH", ""))))
