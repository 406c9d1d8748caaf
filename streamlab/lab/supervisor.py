"""Who starts, stops and kills the processes of a run. None outlives it."""

from __future__ import annotations

import pickle
import signal
import time

import cloudpickle
import psutil

from streamlab.errors import ServerError, UsageError
from streamlab.history.log import EventLog
from streamlab.lab.forkserver import ForkServer
from streamlab.lab.process import Task, context, send

_START = 30.0  # seconds that a process may take to come up: the machine may be busy
_STOP = 5.0  # seconds that a process may take to finish what is in flight


class WorkerProcess:
    """One process, doing one task: the incarnation of a worker, or the producer."""

    def __init__(self, server: ForkServer, task: Task) -> None:
        self.task = task
        self.log = task.folder / "logs" / f"{task.name}.{task.incarnation}.log"
        self.log.parent.mkdir(exist_ok=True)
        self.ended = False  # by us, or known to have ended by itself
        try:
            order = cloudpickle.dumps(task)
        except Exception as error:  # pickle raises whatever it likes
            raise UsageError(f"the handler cannot be sent to a worker process: {error}") from error
        with self.log.open("wb") as log:
            self._process = server.fork(log)
        self.pid = self._process.pid
        send(self._process.orders, pickle.dumps(context()))
        send(self._process.orders, order)

    @property
    def alive(self) -> bool:
        return not self._process.gone(0)

    @property
    def returncode(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return None if self.alive else self._process.poll(_START)

    @property
    def ready(self) -> bool:
        """Whether its event log is open, which is the last thing before its work."""
        return (self.task.folder / "events" / f"{self.task.name}.{self.task.incarnation}.csv").exists()

    def order(self, order: object) -> None:
        """Tell it something that it obeys while it works. One that has died is noticed elsewhere."""
        send(self._process.orders, pickle.dumps(order))

    def pause(self) -> None:
        """Send SIGSTOP, and wait until the process stands still."""
        self._process.signal(signal.SIGSTOP)
        while not self.still:
            time.sleep(0.0005)

    @property
    def still(self) -> bool:
        """Whether the process does nothing at all: it is stopped, or has ended."""
        try:
            return psutil.Process(self.pid).status() in {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}
        except psutil.NoSuchProcess:
            return True

    def resume(self) -> None:
        self._process.signal(signal.SIGCONT)

    def last_line(self) -> str:
        """Return the last line that it printed."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it printed nothing"

    def end(self, number: signal.Signals) -> None:
        """Send a signal and wait for the end; SIGKILL when that takes longer than 5 s."""
        self.ended = True
        self._process.signal(number)
        if not self._process.gone(_STOP):
            self._process.signal(signal.SIGKILL)
            self._process.gone(_START)


class Supervisor:
    """The processes of a run by name; each start and end is written to the lab's event log."""

    def __init__(self, server: ForkServer, event_log: EventLog) -> None:
        self._server = server
        self._event_log = event_log
        self._processes: dict[str, WorkerProcess] = {}

    def __getitem__(self, name: str) -> WorkerProcess:
        return self._processes[name]

    def start(self, task: Task) -> WorkerProcess:
        """Start a process in the place of the earlier one of its name, which must have ended."""
        if earlier := self._processes.get(task.name):
            self._has_ended(earlier)
        process = self._processes[task.name] = WorkerProcess(self._server, task)
        self._event_log.write("worker_up", note=f"{task.name}: pid {process.pid}, incarnation {task.incarnation}")
        return process

    def wait_ready(self) -> None:
        """Wait until all are at work. Raises ServerError with the last line of one that died on the way."""
        deadline = time.monotonic() + _START
        waiting = list(self._processes.values())
        while waiting:
            for process in waiting:
                if not process.alive:
                    line = process.last_line()
                    raise ServerError(f"{process.task.name} did not start ({line}); see {process.log}")
            waiting = [process for process in waiting if not process.ready]
            if waiting and time.monotonic() > deadline:
                name, log = waiting[0].task.name, waiting[0].log
                raise ServerError(f"{name} did not start within {_START:g} s; see {log}")
            time.sleep(0.002 if waiting else 0)

    def kill(self, name: str) -> None:
        self._processes[name].end(signal.SIGKILL)
        self._event_log.write("worker_exit", note=f"{name}: killed")

    def stop(self, name: str) -> None:
        """Send SIGTERM, and wait until the process has finished what is in flight."""
        process = self._processes[name]
        if process.alive:
            process.end(signal.SIGTERM)
            self._event_log.write("worker_exit", note=f"{name}: status {process.returncode}")

    def dead(self) -> list[WorkerProcess]:
        """Return the processes that failed without being told to end, each once."""
        return [process for process in self._processes.values() if self._has_ended(process) and process.returncode]

    def _has_ended(self, process: WorkerProcess) -> bool:
        """Whether it has ended by itself, and nobody has noticed so far."""
        if process.alive or process.ended:
            return False
        process.ended = True
        self._event_log.write("worker_exit", note=f"{process.task.name}: status {process.returncode}")
        return True

    def close(self) -> None:
        """Kill whatever still runs."""
        self._server.close()
