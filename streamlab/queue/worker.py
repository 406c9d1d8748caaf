"""The worker: its settings, its consumer name in each process, and how it is started and stopped."""

import contextlib
import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

from redis import Redis

from streamlab.queue.connection import PerProcess, checked_client
from streamlab.queue.executor import checked_handler
from streamlab.queue.keys import checked_name
from streamlab.queue.loop import Loop
from streamlab.queue.message import Handler, Observer
from streamlab.queue.settings import Settings


class Worker:
    """One consumer of a group, at least once: a message is acknowledged after its handler has returned, never before.

    Args:
        client: a `redis.Redis`; the worker makes connections of its own with its address and credentials.
        stream: key of the stream. It and the group are made if they do not exist.
        group: the consumer group.
        handler: a plain function, called with each `Message`. To return is success; `PermanentError` means that no
            retry can help; any other `Exception` means that one may. SystemExit and KeyboardInterrupt end the worker.
        consumer: a name that no other running consumer has. One that is kept over restarts finds its own pending
            entries at once instead of after `claim_after`. In a forked child the process ID is added to it.
        batch: messages to read at a time, at most. The worker reads fewer when they take long or weigh much, so that it
            never has more than about 20 ms of work, or two batches, in flight.
        claim_after: seconds without a heartbeat after which any worker may claim a message. Heartbeats go on while a
            handler runs: this is the time to notice a crash, not a limit on a handler's time. Idle time is measured by
            the server's wall clock: when that is stepped forward, work in progress may be claimed.
        max_deliveries: after so many deliveries without success a message is dead-lettered.
        retry_delay: seconds before a message that failed may be delivered again; doubled at each delivery, at most
            `claim_after`.
        threads: 1 runs the handler in the thread that calls `run`. More are for handlers that wait (network, disk):
            so many messages at once, in no particular order.
        handler_timeout: seconds after which a handler counts as hanging: no more heartbeats for its message, so that
            others may claim it; the log says so. None: heartbeats go on as long as the process is alive.
        start: where a new group starts: "0" with what the stream holds, "$" with what comes after. A group that is made
            again, because it was lost, starts at "0".
        observe: told every checkpoint of every message; see `Observer`.
        timeout: seconds to wait for a reply before the connection is taken for broken.

    Raises:
        TypeError: a client, a handler or a name of a kind that cannot work (`async def`, a cluster's client, bytes).
        ValueError: a setting out of its range, or an empty name.

    >>> worker = Worker(client, "images", "resizers", resize, claim_after=30)     # doctest: +SKIP
    >>> worker.run()                      # until SIGTERM or Ctrl-C               # doctest: +SKIP
    """

    def __init__(
        self,
        client: Redis,
        stream: str,
        group: str,
        handler: Handler,
        *,
        consumer: str | None = None,
        batch: int = 100,
        claim_after: float = 60.0,
        max_deliveries: int = 5,
        retry_delay: float = 1.0,
        threads: int = 1,
        handler_timeout: float | None = None,
        start: str = "0",
        observe: Observer | None = None,
        timeout: float = 5.0,
    ) -> None:
        self.stream = checked_name("stream", stream)
        self.group = checked_name("group", group)
        if consumer is not None:
            checked_name("consumer", consumer)
        self._client = checked_client(client)
        self._handler = checked_handler(handler)
        self._start = start
        made_in = os.getpid()

        def settings() -> Settings:
            # No two processes may share a name, and with it a list of pending entries.
            name = consumer or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
            if consumer and os.getpid() != made_in:
                name = f"{consumer}-{os.getpid()}"
            return Settings(
                stream, group, name, batch, claim_after, max_deliveries, retry_delay, threads, handler_timeout, timeout,
                observe,
            )  # fmt: skip

        self._settings = PerProcess(settings)
        self._stopping = PerProcess(threading.Event)
        self._running = PerProcess(threading.Lock)

    @property
    def consumer(self) -> str:
        """The consumer's name in this process."""
        return self._settings().consumer

    def run(self) -> None:
        """Work until `stop`, SIGTERM or SIGINT; then finish what is in flight, and leave if nothing is pending.

        In the main thread the two signals are handled here while it runs; a second one acts as it did before.
        Redis away, restarted, replaced or flushed is waited out, with a warning to the log. It can be called again
        after it has returned.

        Raises:
            RuntimeError: it runs already, in another thread.
            AuthenticationError, AuthorizationError: Redis does not let us in.
            NoPermissionError: the user lacks a permission; the text names command and key.
            ResponseError: the key holds something else than a stream, or is on another node of a cluster.
            BaseException: what a handler raised that is no `Exception`, such as SystemExit.
        """
        if not self._running().acquire(blocking=False):
            raise RuntimeError(f"worker {self.consumer!r} runs already: make one for each thread, or set threads=")
        try:
            loop = Loop(self._client, self._handler, self._settings(), self._stopping(), self._start)
            with self._signals():
                loop.run()
            if loop.existed:
                self._start = "0"  # a group that is gone at the next run has been lost
        finally:
            self._stopping().clear()
            self._running().release()

    def stop(self) -> None:
        """Ask `run` to end soon, from any thread or signal handler. Before `run`, it makes that return at once."""
        self._stopping().set()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT stop the worker gently; only the main thread may say so."""
        before: dict[int, Any] = {}

        def gently(number: int, _frame: object) -> None:
            self.stop()
            signal.signal(number, before[number])

        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                if (usual := signal.getsignal(number)) is not None:  # None: not Python's, which could not set it again
                    before[number] = usual
                    signal.signal(number, gently)
        try:
            yield
        finally:
            for handled, usual in before.items():
                signal.signal(handled, usual)
