"""The worker: reads messages, calls a handler for each, and answers for every one that it has read."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from redis import Redis
from redis.exceptions import AuthenticationError, AuthorizationError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from streamlab.queue.group import create_group, forget_idle_consumers, leave_group
from streamlab.queue.hands import Handler, Hands
from streamlab.queue.heartbeat import Heartbeat
from streamlab.queue.link import Link
from streamlab.queue.message import Message, Observer
from streamlab.queue.outcome import Outcome
from streamlab.queue.recovery import Recovery
from streamlab.queue.window import Window

log = logging.getLogger(__name__)

_HOUSEKEEPING = 60.0  # seconds between two looks for consumers that nobody is any more


def default_consumer() -> str:
    """A name that no other consumer has: host, process and chance. Two workers of one name would share a PEL."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


class Worker:
    """One consumer of a group, at least once: a message is acknowledged after its handler has returned, never before.

    Args:
        client: any redis-py client; the worker makes connections of its own with its address and credentials.
        stream: key of the stream. It and the group are made if they do not exist.
        group: the consumer group.
        handler: called with each `Message`. To return is success; `PermanentError` means that no retry can help; any
            other exception means that one may.
        consumer: a name that no other live consumer has. One that is kept over restarts finds its own pending
            entries at once instead of after `claim_after`.
        batch: messages to read at a time, at most. The worker reads fewer when they take long, so that it never
            holds more than about 20 ms of work that another could do.
        claim_after: seconds without a sign of life after which anybody may take a message over. A worker gives signs of
            life while its handler runs: this is the time to notice a crash, not a limit on a handler's time.
        max_deliveries: after so many deliveries without success a message goes to the dead letters.
        retry_delay: seconds before a message that failed may be delivered again; doubled at each delivery, at most
            `claim_after`.
        threads: 1 runs the handler in the thread that calls `run`. More are for handlers that wait (network, disk):
            so many messages at once, in no particular order.
        start: where a new group starts: "0" with what the stream holds, "$" with what comes after.
        observe: told every checkpoint of every message; see `Observer`.
        timeout: seconds to wait for a reply before the connection is taken for broken.

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
            ("timeout", timeout, 0.02),
        ):
            if not least <= value < float("inf"):
                raise ValueError(f"{name}={value}: must be {least} or more")
        self.stream = stream
        self.group = group
        self.consumer = consumer or default_consumer()
        self._handler = handler
        self._batch = batch
        self._claim_after = claim_after
        self._threads = threads
        self._start = start
        self._observe = observe

        self._client = client
        self._link = Link(client, timeout=timeout, block=1.0)
        self._names = (self.stream, self.group, self.consumer)
        self._outcome = Outcome(
            self._link,
            *self._names,
            claim_after=claim_after,
            max_deliveries=max_deliveries,
            retry_delay=retry_delay,
            observe=observe,
        )
        self._recovery = Recovery(self._link, *self._names, claim_after)
        self._hands: Hands | Window  # made by `run`
        self._stopping = threading.Event()
        self._resume = True  # our own pending entries may hold something that we never saw
        self._away = ""  # why Redis did not serve us, until it does again
        self._housekeeping = time.monotonic() + _HOUSEKEEPING

    def run(self) -> None:
        """Work until `stop`, SIGTERM or SIGINT; then finish what is in hand, and leave the group if nothing is pending.

        In the main thread the two signals are handled here while it runs; a second one acts as it did before.
        Redis away, restarted or flushed is waited out, with a warning to the log.

        Raises:
            AuthenticationError, AuthorizationError: Redis does not let us in.
            ResponseError: the key holds something else than a stream, or a permission is missing.
        """
        pause = 0.0
        hands = self._hands = self._make_hands()
        heartbeat = Heartbeat(
            self._client, *self._names, every=self._claim_after / 4, held=hands.held_long, confirmed=hands.confirm
        )
        with self._signals():
            heartbeat.start()
            try:
                while not self._stopping.is_set():
                    try:
                        if self._resume:
                            self._take_up()
                        self._turn()
                        pause = 0.0
                    except RedisError as error:
                        pause = min(max(0.05, pause * 2), 1.0)
                        self._mend(error)
                        self._stopping.wait(pause)
            finally:
                hands.close()
                self._leave()
                heartbeat.stop()
                self._link.close()

    def stop(self) -> None:
        """Ask `run` to end soon; from any thread or signal handler."""
        self._stopping.set()

    def _make_hands(self) -> Hands | Window:
        settings: Any = {"batch": self._batch, "claim_after": self._claim_after, "observe": self._observe}
        if self._threads == 1:
            return Hands(self._link, self._names, self._handler, self._outcome, **settings)
        return Window(self._threads, Link(self._client), self._handler, self._outcome, **settings)

    def _turn(self) -> None:
        """One round: what is left behind if it is time to look, then what is new. So neither starves the other."""
        if self._recovery.wait <= 0:
            self._recover()
        self._read_new()
        if time.monotonic() > self._housekeeping:
            self._housekeeping = time.monotonic() + _HOUSEKEEPING
            forget_idle_consumers(self._link, self.stream, self.group, max(10 * self._claim_after, 600.0))

    def _read_new(self) -> None:
        places = self._hands.places()
        if not places:
            return
        used = 0
        try:
            # BLOCK 0 would be for ever: when the next sweep is due at once, do not block at all.
            wait = int(1000 * min(self._recovery.wait, 1.0))
            block = ("BLOCK", wait) if wait > 0 else ()
            commands = self._hands.ack_commands()
            before = time.monotonic()
            self._link.send(
                *commands,
                ("XREADGROUP", "GROUP", self.group, self.consumer, "COUNT", places, *block,
                 "STREAMS", self.stream, ">"),
            )  # fmt: skip
            self._hands.acked([self._link.receive() for _ in commands])
            rows = _rows(self._link.receive())
            messages = [Message(entry, items) for entry, items in rows]
            used = len(messages)
        finally:
            self._hands.release(places - used)
        self._take("read", messages, before)

    def _recover(self) -> None:
        places = self._hands.places()
        if not places:
            return
        messages: list[Message] = []
        try:
            before = time.monotonic()
            found = self._recovery.step(places, self._hands.held())
            messages = found.messages
        finally:
            self._hands.release(places - len(messages))
        if found.deleted:
            self._deleted(found.deleted)
        self._take("claimed", messages, before)

    def _take_up(self) -> None:
        """The group, and this consumer's own pending entries: after a start, and after every broken connection.

        A reply that was lost on its way has put its entries into the PEL of a consumer that never saw them. A heartbeat
        does not keep those, but no other worker can know that they were never seen: we look ourselves.
        """
        if create_group(self._link, self.stream, self.group, start=self._start):
            log.info("made group %r on stream %r", self.group, self.stream)
        self._hands.flush()
        after = "0-0"
        while not self._stopping.is_set():
            places = self._hands.places()
            if not places:
                continue
            messages: list[Message] = []
            try:
                before = time.monotonic()
                rows = _rows(
                    self._link.call(
                        "XREADGROUP", "GROUP", self.group, self.consumer, "COUNT", places, "STREAMS", self.stream, after
                    )
                )
                if not rows:
                    break
                after = rows[-1][0].decode()
                held = self._hands.held()
                deleted = [entry.decode() for entry, items in rows if items is None]
                if deleted:
                    self._link.call("XACK", self.stream, self.group, *deleted)
                    self._deleted(deleted)
                rows = [
                    row for row in rows if row[1] is not None and row[0].decode() not in held | self._outcome.waiting()
                ]
                messages = self._recovery.counted(rows, held) if rows else []
            finally:
                self._hands.release(places - len(messages))
            self._take("own", messages, before)
        self._resume = False
        if self._away:
            log.warning("Redis is back (it was away: %s)", self._away)
            if self._observe is not None:
                self._observe("reconnected", (), self._away)
            self._away = ""

    def _take(self, kind: str, messages: list[Message], before: float) -> None:
        """Hand over what was read, each message in a place of its own."""
        if messages and self._observe is not None:
            self._observe(kind, messages)
        kept: list[Message] = []
        try:
            kept = messages if kind == "read" else self._outcome.within_limit(messages)
        finally:
            self._hands.release(len(messages) - len(kept))
        self._hands.take(kept, before)

    def _deleted(self, ids: Sequence[str]) -> None:
        log.warning("%d pending entries were deleted from stream %r, the first is %s", len(ids), self.stream, ids[0])
        if self._observe is not None:
            self._observe("deleted", [Message(entry.encode(), []) for entry in ids])

    def _mend(self, error: RedisError) -> None:
        """Decide what an error of Redis means: raise it, or prepare the next try."""
        text = str(error)
        if isinstance(error, (AuthenticationError, AuthorizationError)) or text.startswith(("WRONGTYPE", "NOPERM")):
            raise error
        self._resume = True
        if isinstance(error, ResponseError) and text.startswith(("NOGROUP", "UNBLOCKED")):
            log.warning("group %r of stream %r is gone (%s): making it again", self.group, self.stream, text)
            self._start = "0"  # whatever is there may not have been done
            if self._observe is not None:
                self._observe("healed", (), text)
            return
        kind = "is away" if isinstance(error, RedisConnectionError) else "refuses"
        log.warning("Redis %s (%s): trying again", kind, text)
        self._away = text

    def _leave(self) -> None:
        try:
            self._hands.flush()
            leave_group(self._link, self.stream, self.group, self.consumer)
        except RedisError as error:
            log.warning("could not say goodbye (%s): what is pending will be claimed after its idle time", error)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT stop the worker gently; only the main thread may say so."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def gently(number: int, _frame: object) -> None:
            self.stop()
            signal.signal(number, before[signal.Signals(number)])

        for number in before:
            signal.signal(number, gently)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _rows(reply: Any) -> list[Any]:
    """The entries in XREADGROUP's reply for one stream; none for nil."""
    if isinstance(reply, RedisError):
        raise reply
    return reply[0][1] if reply else []
