"""The worker: reads messages, has a handler called for each, and sees to it that every one is settled."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from streamlab.queue import scripts
from streamlab.queue.connection import Connection, PerProcess, checked_client
from streamlab.queue.errors import is_elsewhere, is_final, is_group_gone
from streamlab.queue.executor import Executor, checked_handler
from streamlab.queue.group import create_group, forget_idle_consumers, leave_group, warn_of_eviction
from streamlab.queue.heartbeat import Heartbeat, renew
from streamlab.queue.inline import InlineExecutor
from streamlab.queue.keys import checked_name, to_bytes
from streamlab.queue.message import Handler, Message, Observer, unobserved
from streamlab.queue.reader import Reader
from streamlab.queue.recovery import Recovery
from streamlab.queue.settlement import Settlement
from streamlab.queue.threaded import ThreadedExecutor

log = logging.getLogger(__name__)

_BLOCK = 1.0  # seconds that one read waits, at most: so long may `stop` take on a quiet stream
_HOUSEKEEPING = 60.0  # seconds between two looks for consumers whose workers are gone


def default_consumer() -> str:
    """A name that no other consumer has: host, process and chance. Two workers of one name would share a PEL."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


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
        for name, value, least in (
            ("batch", batch, 1),
            ("claim_after", claim_after, 0.02),
            ("max_deliveries", max_deliveries, 1),
            ("retry_delay", retry_delay, 0),
            ("threads", threads, 1),
            ("handler_timeout", 1 if handler_timeout is None else handler_timeout, 0.02),
            ("timeout", timeout, 0.02),
        ):
            if not least <= value < float("inf"):
                raise ValueError(f"{name}={value}: must be {least} or more")
        self.stream = checked_name("stream", stream)
        self.group = checked_name("group", group)
        if consumer is not None:
            checked_name("consumer", consumer)
        made_in = os.getpid()
        self._consumer = PerProcess(
            lambda: default_consumer() if consumer is None
            else consumer if os.getpid() == made_in else f"{consumer}-{os.getpid()}"
        )  # fmt: skip
        self._client = checked_client(client)
        self._handler = checked_handler(handler)
        self._batch = batch
        self._claim_after = claim_after
        self._max_deliveries = max_deliveries
        self._retry_delay = retry_delay
        self._threads = threads
        self._handler_timeout = handler_timeout
        self._start = start
        self._observe = observe
        self._tell: Observer = observe or unobserved
        self._timeout = timeout
        self._stopping = PerProcess(threading.Event)
        self._running = PerProcess(threading.Lock)
        self._error: BaseException | None = None  # what ended one of our threads
        self._existed = False  # whether the group has been there: then it was lost where it is not

    @property
    def consumer(self) -> str:
        """The consumer's name in this process."""
        return self._consumer()

    def run(self) -> None:
        """Work until `stop`, SIGTERM or SIGINT; then finish what is in flight, and leave the group if nothing is pending.

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
            raise RuntimeError(f"the worker {self.consumer!r} runs already: make one for each thread, or set threads=")
        try:
            self._begin()
            with self._signals():
                self._heartbeat.start()
                try:
                    self._loop()
                finally:
                    self._end()
        finally:
            self._error = None
            self._stopping().clear()
            self._running().release()

    def stop(self) -> None:
        """Ask `run` to end soon, from any thread or signal handler. Before `run`, it makes that return at once."""
        self._stopping().set()

    def _begin(self) -> None:
        """Make what one run needs: connections belong to it, and to this process."""
        names = (self.stream, self.group, self.consumer)
        self._connection = Connection(self._client, timeout=self._timeout, block=_BLOCK)
        self._second = Connection(self._client, timeout=self._timeout)  # for heartbeats, and the threads' settlements
        self._settlement = Settlement(
            self._connection if self._threads == 1 else self._second,
            *names,
            claim_after=self._claim_after,
            max_deliveries=self._max_deliveries,
            retry_delay=self._retry_delay,
            observe=self._tell,
        )
        self._recovery = Recovery(self._connection, *names, self._claim_after)
        self._reader = Reader(self._connection, *names, self._claim_after)
        settings: Any = {"batch": self._batch, "claim_after": self._claim_after, "observe": self._observe}
        self._executor: Executor
        if self._threads == 1:
            self._executor = InlineExecutor(self._handler, self._settlement, renew=self._renew, **settings)
        else:
            self._executor = ThreadedExecutor(
                self._threads, self._handler, self._settlement, renew=self._renew, failed=self._fail, **settings
            )
        self._heartbeat = Heartbeat(
            self._renew, self._executor, self._reader.ahead,
            claim_after=self._claim_after, handler_timeout=self._handler_timeout, failed=self._fail,
        )  # fmt: skip
        self._resume = True  # our own pending entries may hold something that we never saw
        self._away = ""  # why Redis did not serve us, until it does again
        self._housekeeping = time.monotonic() + _HOUSEKEEPING
        self._looked_for_eviction = False

    def _renew(self, ids: Collection[bytes]) -> set[bytes]:
        return renew(self._second, self.stream, self.group, self.consumer, ids)

    def _fail(self, error: BaseException) -> None:
        """Let `run` end with the error that has ended a thread."""
        self._error = self._error or error

    def _loop(self) -> None:
        pause = 0.0
        stopping = self._stopping()
        while not stopping.is_set() or self._reader.asked:
            if self._error is not None:
                raise self._error
            try:
                if self._resume:
                    self._take_up()
                self._turn()
                pause = 0.0
            except RedisError as error:
                pause = min(max(0.05, pause * 2), 1.0)
                self._mend(error)
                stopping.wait(pause)
        if self._error is not None:
            raise self._error

    def _turn(self) -> None:
        """One round: what is left behind if it is time to look, then what is new. So neither starves the other."""
        reader, executor = self._reader, self._executor
        if not reader.asked:
            claims = reader.claims
            wait = min(self._recovery.wait(claims=claims), self._settlement.next_retry() - time.monotonic())
            if self._recovery.wait(claims=claims) <= 0 or (wait <= 0 and not claims):
                self._recover()
                wait = self._recovery.every
            if not (room := executor.room()):
                return
            reader.ask(room, max(0.001, min(wait, _BLOCK)))
        messages, asked, more = reader.answer()
        if not messages:
            return
        ahead = executor.room_ahead()
        if more and ahead and not self._stopping().is_set() and self._recovery.wait(claims=reader.claims) > 0:
            reader.ask(ahead)
        claimed = 0
        while claimed < len(messages) and messages[claimed].deliveries > 1:
            claimed += 1
        if claimed:
            self._take("claimed", messages[:claimed], asked)
            messages = messages[claimed:]
        self._take("read", messages, asked)
        if time.monotonic() > self._housekeeping:
            self._housekeeping = time.monotonic() + _HOUSEKEEPING
            forget_idle_consumers(self._connection, self.stream, self.group, max(10 * self._claim_after, 600.0))

    def _recover(self) -> None:
        if not (room := self._executor.room()):
            return
        asked = time.monotonic()
        found = self._recovery.step(self._reader.bounded(room))
        self._deleted(found.deleted)
        self._take("claimed", found.messages, asked)

    def _take_up(self) -> None:
        """The group, and this consumer's own pending entries: after a start, and after every broken connection.

        A reply that was lost on its way has put its entries into the PEL of a consumer that never saw them. A heartbeat
        does not keep those, but no other worker can know that they were never seen: we look ourselves.
        """
        made = create_group(self._connection, self.stream, self.group, start="0" if self._existed else self._start)
        if made and self._existed:
            log.warning("group %r of stream %r was gone: it is made again and starts at 0", self.group, self.stream)
            self._tell("healed", (), "the group was gone")
        elif made:
            log.info("made group %r on stream %r", self.group, self.stream)
        self._existed = True
        if not self._looked_for_eviction:
            warn_of_eviction(self._connection, self.stream)
            self._looked_for_eviction = True
        names = [to_bytes(name) for name in (self.stream, self.group, self.consumer)]
        self._connection.call("XGROUP", "CREATECONSUMER", *names)  # else old servers list it after its first message
        after: bytes | None = b"-"
        while after and not self._stopping().is_set() and self._error is None:
            if not (room := self._executor.room()):
                continue
            asked = time.monotonic()
            skip = [message.key for message, _ in self._executor.in_flight()]
            skip += [*self._settlement.unconfirmed(), *self._settlement.waiting()]
            after, rows, deleted = self._connection.run(
                scripts.TAKE_OWN, *names, after, self._reader.bounded(room), *skip
            )
            self._deleted(deleted)
            self._take("own", [Message(key, raw, int(deliveries)) for key, raw, deliveries in rows], asked)
            after = b"(" + after if after else None
        self._resume = False
        if self._away:
            log.warning("Redis is back (it was away: %s)", self._away)
            self._tell("reconnected", (), self._away)
            self._away = ""

    def _take(self, kind: str, messages: list[Message], asked: float) -> None:
        """Hand messages over; those that were delivered too often are dead-lettered instead."""
        if not messages:
            return
        if self._observe is not None:
            self._observe(kind, messages)
        if kind != "read":
            messages = self._settlement.within_limit(messages)
        if messages:
            self._executor.submit(messages, asked)

    def _deleted(self, ids: Sequence[bytes]) -> None:
        if ids:
            log.warning(
                "%d pending entries were deleted from stream %r (XDEL, XTRIM), the first is %s: nobody can handle them",
                len(ids), self.stream, ids[0].decode(),
            )  # fmt: skip
            self._tell("deleted", [Message(key, []) for key in ids])

    def _mend(self, error: RedisError) -> None:
        """Decide what an error of Redis means: raise it, or prepare the next try."""
        if is_final(error):
            raise error
        self._resume = True
        if is_group_gone(error):
            return  # made again, and told, by `_take_up`
        kind = "is away" if isinstance(error, RedisConnectionError) or is_elsewhere(error) else "refuses"
        log.warning("Redis %s (%s): trying again", kind, error)
        self._away = str(error)

    def _end(self) -> None:
        """Finish what is in flight, and leave. What cannot be settled stays pending, and will be claimed."""
        try:
            self._executor.close()
            leave_group(self._connection, self.stream, self.group, self.consumer)
        except RedisError as error:
            log.warning(
                "cannot delete consumer %r (%s): leaving it, XINFO CONSUMERS will list it", self.consumer, error
            )
        finally:
            self._heartbeat.stop()
            self._connection.close()
            self._second.close()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT stop the worker gently; only the main thread may say so."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        # None: set by other code than Python's, which Python could not set again.
        ours = {number: handler for number, handler in before.items() if handler is not None}

        def gently(number: int, _frame: object) -> None:
            self.stop()
            signal.signal(number, ours[signal.Signals(number)])

        for number in ours:
            signal.signal(number, gently)
        try:
            yield
        finally:
            for number, handler in ours.items():
                signal.signal(number, handler)
