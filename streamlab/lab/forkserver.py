"""A parent that forks the processes of a run: Python and what all of them import are loaded once.

The lab starts it, and asks it over a socket for processes and for their exit statuses. It has one thread, so that a
fork copies no lock that another thread holds. It waits for a process only when the lab asks: until then the process ID
is nobody else's. When the lab is gone, the socket closes, and it kills what still runs: no crash of the lab leaves a
process behind.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from typing import BinaryIO, Self

import cloudpickle
import psutil

from streamlab.errors import ServerError, UsageError
from streamlab.lab.process import Task, context, main, send

_SERVER = "from streamlab.lab.forkserver import serve; serve()"
_NUMBER = struct.Struct("<i")  # asked: a process ID, or 0 to fork one; answered: the exit status, or the process ID
_STOP = 5.0  # seconds that a process may take to finish what is in flight


class ForkServer:
    """The lab's side: starts the server, which loads its modules while the lab goes on."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._started: list[WorkerProcess] = []
        self._asking = threading.Lock()  # of two threads one would take the other's answer
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-c", _SERVER, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                process_group=0,  # Ctrl-C is for the lab, which then stops its processes in order
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, task: Task) -> WorkerProcess:
        """Start a process. Raises UsageError for a task that cannot be sent to it."""
        process = WorkerProcess(self, task)
        self._started.append(process)
        return process

    def ask(self, number: int, *fds: int) -> int | None:
        """Return the server's answer; None where it is gone."""
        try:
            with self._asking:
                socket.send_fds(self._socket, [_NUMBER.pack(number)], fds)
                answer = self._socket.recv(_NUMBER.size)
        except OSError:
            return None
        except KeyboardInterrupt:  # the next to ask must not take this answer for theirs
            self._socket.close()
            raise
        return int(_NUMBER.unpack(answer)[0]) if answer else None

    def close(self) -> None:
        """Kill all processes that still run, and end the server."""
        self._socket.close()
        self._server.wait()
        for process in self._started:
            process.poll()


class WorkerProcess:
    """One process, doing one task: the incarnation of a worker, or the producer.

    Attributes:
        task: what it does.
        log: the file to which it prints.
        pid: its process ID.
        returncode: its exit status, negative for a signal; None while it runs. `poll` looks for it.
        ended: by us, or known to have ended by itself.
    """

    def __init__(self, server: ForkServer, task: Task) -> None:
        self.task = task
        self.log = task.folder / "logs" / f"{task.name}.{task.incarnation}.log"
        self.log.parent.mkdir(exist_ok=True)
        self.returncode: int | None = None
        self.ended = False
        self._server = server
        try:
            order = cloudpickle.dumps(task)
        except Exception as error:  # pickle raises whatever it likes
            raise UsageError(f"the handler cannot be sent to a worker process: {error}") from error
        orders, to_process = os.pipe()
        self._orders = os.fdopen(to_process, "wb")
        with self.log.open("wb") as log, os.fdopen(orders, "rb"):
            pid = server.ask(0, orders, log.fileno())
        if pid is None:
            raise ServerError(f"{task.name} did not start: the process that forks workers has ended; try again")
        self.pid = pid
        self._process = psutil.Process(pid)
        send(self._orders, pickle.dumps(context()))
        send(self._orders, order)

    @property
    def ready(self) -> bool:
        """Whether its event log is open, which is the last thing before its work."""
        return (self.task.folder / "events" / f"{self.task.name}.{self.task.incarnation}.csv").exists()

    @property
    def alive(self) -> bool:
        return self.poll() is None

    @property
    def still(self) -> bool:
        """Whether the process does nothing at all: it is stopped, or has ended."""
        return self._status() in {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}

    def _status(self) -> str:
        try:
            return str(self._process.status())
        except psutil.NoSuchProcess:  # we have asked for its exit status, or the server is gone
            return str(psutil.STATUS_ZOMBIE)

    def poll(self, seconds: float = 0.0) -> int | None:
        """Return the exit status if the process ends within so many seconds; else None."""
        deadline, pause = time.monotonic() + seconds, 0.0005
        while self.returncode is None:
            if self._status() == psutil.STATUS_ZOMBIE:
                status = self._server.ask(self.pid)
                self.returncode = -signal.SIGKILL if status is None else status
                with contextlib.suppress(BrokenPipeError):
                    self._orders.close()
            elif time.monotonic() >= deadline:
                break
            else:
                time.sleep(pause)
                pause = min(2 * pause, 0.02)  # to look is not free, and other runs may go on in this process
        return self.returncode

    def order(self, order: object) -> None:
        """Send it an order for its work. One that has died is noticed elsewhere."""
        send(self._orders, pickle.dumps(order))

    def signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self._process.send_signal(number)

    def pause(self) -> None:
        """Send SIGSTOP, and wait until the process stands still."""
        self.signal(signal.SIGSTOP)
        while not self.still:
            time.sleep(0.0005)

    def end(self) -> None:
        """Wait for the end for which a signal asked; SIGKILL when that takes longer than 5 s."""
        self.ended = True
        if self.poll(_STOP) is None:
            self.signal(signal.SIGKILL)
            self.poll(_STOP)

    def last_line(self) -> str:
        """Return the last line that it printed."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it printed nothing"


def serve() -> None:
    """Entry point of the server, and of each process that it forks."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # who ignores it, as some parents do, gets no exit statuses
    gc.freeze()  # nothing that is loaded now is ever collected: processes share its memory
    orders = _fork(socket.socket(fileno=int(sys.argv[1])))
    if orders is not None:
        main(orders)


def _fork(lab: socket.socket) -> BinaryIO | None:
    """Answer until the lab is gone. Returns in each new process, with its orders; None in the end."""
    running: set[int] = set()
    while True:
        request, fds, _, _ = socket.recv_fds(lab, _NUMBER.size, 2)
        if not request:
            break
        answer = _NUMBER.unpack(request)[0]
        if answer:
            running.remove(answer)
            answer = os.waitstatus_to_exitcode(os.waitpid(answer, 0)[1])
        else:
            answer = os.fork()
            if not answer:
                lab.close()
                return _begin(*fds)
            running.add(answer)
            for fd in fds:
                os.close(fd)
        with contextlib.suppress(BrokenPipeError):  # the lab is gone
            lab.send(_NUMBER.pack(answer))
    for pid in running:
        os.kill(pid, signal.SIGKILL)
    for pid in running:
        os.waitpid(pid, 0)
    return None


def _begin(orders: int, log: int) -> BinaryIO:
    """Make a new process what one that was started by itself is: a group and standard streams of its own."""
    # A group and no session: should this parent be killed, too, the kernel wakes a process that stands still (SIGSTOP).
    os.setpgid(0, 0)
    for fd in (1, 2):
        os.dup2(log, fd)
    os.close(log)
    return os.fdopen(orders, "rb")
