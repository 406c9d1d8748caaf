"""A parent that forks the processes of a run: Python and what all of them import are loaded once.

The lab starts it, and asks it over a socket for processes. It has one thread, so that a fork copies no lock that
another thread holds. It waits for its children, so only it knows at any time that a process ID is not somebody else's
by now: where the system has no handles of processes (Linux's pidfd), signals go through it. When the lab is gone, the
socket closes, and it kills what still runs: no crash of the lab leaves a process behind.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO, Self

_SERVER = "from streamlab.lab.forkserver import main; main()"
_REQUEST = struct.Struct("<ii")  # process ID and signal; (0, 0): fork, with three file descriptors
_NUMBER = struct.Struct("<i")  # on a process's status pipe: its process ID, and at its end its exit status


class ForkServer:
    """The lab's side: starts the server, which loads its modules while the lab goes on."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._socket = ours
        self._forked: list[Forked] = []
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-c", _SERVER, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                process_group=0,  # Ctrl-C is for the lab, which then stops its processes in order
                env=os.environ | {"PYTHONPATH": _package_path()},
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fork(self, log: BinaryIO) -> Forked:
        """Start a process that prints to `log` and waits for its orders."""
        orders, to_process = os.pipe()
        from_process, status = os.pipe()
        try:
            socket.send_fds(self._socket, [_REQUEST.pack(0, 0)], [orders, log.fileno(), status])
        finally:
            os.close(orders)
            os.close(status)
        forked = Forked(self, os.fdopen(to_process, "wb"), from_process)
        self._forked.append(forked)
        return forked

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to a process that was forked, if it still runs."""
        with contextlib.suppress(OSError):  # the server is gone, and its processes with it
            self._socket.send(_REQUEST.pack(pid, number))

    def close(self) -> None:
        """Kill all processes that still run, and end the server."""
        self._socket.close()
        self._server.wait()
        for forked in self._forked:
            forked.poll()


class Forked:
    """A process that was forked.

    Attributes:
        orders: the pipe to it.
        pid: its process ID.
        returncode: its exit status, negative for a signal; None while it runs. `poll` looks for it.
    """

    def __init__(self, server: ForkServer, orders: BinaryIO, status: int) -> None:
        self._server = server
        self._status = status
        self.orders = orders
        self.returncode: int | None = None
        pid = os.read(status, _NUMBER.size)
        self.pid: int = _NUMBER.unpack(pid)[0] if pid else 0
        # Signals by way of the server would come late on a busy machine, when faults must be exact.
        self._handle = _handle(self.pid) if self.pid else None
        if not self.pid:
            self._ended(-signal.SIGKILL)

    def poll(self, seconds: float = 0.0) -> int | None:
        """Return the exit status if the process ends within so many seconds; else None."""
        if self.returncode is None and select.select([self._status], [], [], seconds)[0]:
            status = os.read(self._status, _NUMBER.size)
            self._ended(_NUMBER.unpack(status)[0] if status else -signal.SIGKILL)
        return self.returncode

    def signal(self, number: int) -> None:
        """Send it a signal."""
        if self.returncode is not None:
            return
        if self._handle is None:
            self._server.signal(self.pid, number)
        else:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)  # type: ignore[attr-defined,unused-ignore]

    def gone(self, seconds: float) -> bool:
        """Wait for the end, for so many seconds at most; whether it has come. `poll` may know it a moment later."""
        if self.returncode is None and self._handle is not None:
            return bool(select.select([self._handle], [], [], seconds)[0])
        return self.poll(seconds) is not None

    def _ended(self, status: int) -> None:
        self.returncode = status
        os.close(self._status)
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
        with contextlib.suppress(BrokenPipeError):
            self.orders.close()


def _handle(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)  # type: ignore[attr-defined,no-any-return,unused-ignore]
    except (AttributeError, OSError):  # not Linux, an old one, or the process has ended already
        return None


def _package_path() -> str:
    """Return a PYTHONPATH with this package, wherever it was imported from."""
    here = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH", ""))))


def serve(control: socket.socket) -> BinaryIO | None:
    """Fork and signal as asked until the lab is gone. Returns in each new process, with its orders; None in the end."""
    wakes, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker)
    running: dict[int, int] = {}  # process ID: its status pipe
    while True:
        ready, _, _ = select.select([control.fileno(), wakes], [], [])
        if wakes in ready:
            os.read(wakes, 4096)
            _reap(running)
        if control.fileno() in ready:
            request, fds, _, _ = socket.recv_fds(control, _REQUEST.size, 3)
            if len(request) < _REQUEST.size:
                break
            pid, number = _REQUEST.unpack(request)
            if pid:
                if pid in running:
                    os.kill(pid, number)
                continue
            orders, log, status = fds
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for fd in (wakes, waker, control.detach(), status, *running.values()):
                    os.close(fd)
                return _begin(orders, log)
            with contextlib.suppress(OSError):  # the process was quicker, and did it itself
                os.setpgid(pid, pid)
            running[pid] = status
            os.write(status, _NUMBER.pack(pid))
            os.close(orders)
            os.close(log)
    for pid in running:
        os.kill(pid, signal.SIGKILL)
    while running:
        _reap(running)
        time.sleep(0.001)
    return None


def _reap(running: dict[int, int]) -> None:
    """Report the exit status of each child that has ended."""
    for pid, status in list(running.items()):
        ended, code = os.waitpid(pid, os.WNOHANG)
        if ended:
            with contextlib.suppress(BrokenPipeError):
                os.write(status, _NUMBER.pack(os.waitstatus_to_exitcode(code)))
            os.close(status)
            del running[pid]


def _begin(orders: int, log: int) -> BinaryIO:
    """Make a new process what one that was started by itself is: a group and standard streams of its own."""
    # A group and no session: should this parent be killed, too, the kernel wakes a process that stands still (SIGSTOP).
    os.setpgid(0, 0)
    for fd in (1, 2):
        os.dup2(log, fd)
    os.close(log)
    return os.fdopen(orders, "rb")


def main() -> None:
    """Entry point of the server, and of each process that it forks."""
    from streamlab.lab import process  # what every process needs: redis, the queue, the workloads

    gc.freeze()  # nothing that is loaded now is ever collected: processes share its memory
    orders = serve(socket.socket(fileno=int(sys.argv[1])))
    if orders is not None:
        process.main(orders)
