"""One run of a worker: recover what is left behind, read what is new, hand it to the executor, over and over."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Collection, Sequence

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from streamlab.queue import scripts
from streamlab.queue.connection import Connection
from streamlab.queue.errors import is_elsewhere, is_final, is_group_gone
from streamlab.queue.executor import Executor
from streamlab.queue.group import create_group, forget_idle_consumers, leave_group, warn_of_eviction
from streamlab.queue.heartbeat import Heartbeat, renew
from streamlab.queue.message import Handler, Message
from streamlab.queue.reader import Reader
from streamlab.queue.recovery import Recovery
from streamlab.queue.settings import Settings
from streamlab.queue.settlement import Settlement

log = logging.getLogger(__name__)

_BLOCK = 1.0  # seconds that one read waits, at most: so long may `stop` take on a quiet stream
_SWEEPS = 20  # claims in a row before new messages get their turn
_SHORT = 0.05  # seconds that one read waits at least while handlers run that may fail
_HOUSEKEEPING = 60.0  # seconds between two looks for consumers whose workers are gone


class Loop:
    """What one `Worker.run` has: connections, executor and heartbeat of this process."""

    def __init__(
        self, client: Redis, handler: Handler, settings: Settings, stopping: threading.Event, start: str
    ) -> None:
        self._settings = settings
        self._stopping = stopping
        self._start = start
        self._connection = Connection(client, timeout=settings.timeout, block=_BLOCK)
        self._second = Connection(client, timeout=settings.timeout)  # heartbeats, and what the threads settle
        self._reader = Reader(self._connection, settings)
        self._recovery = Recovery(self._connection, settings)
        self._settlement = Settlement(self._connection if settings.threads == 1 else self._second, settings)
        self._executor = Executor(handler, self._settlement, settings, self._renew, self._turn)
        self._pid = os.getpid()
        self.existed = False  # whether the group has been there: where it is not, it was lost
        self._resume = True  # our own pending entries may hold something that we never saw
        self._after = b""  # the ID behind which they are still to be looked through
        self._pause = 0.0
        self._swept = 0  # claims in a row
        self._more = False  # whether the last answer was full: there is a backlog
        self._away = ""  # why Redis did not serve us, until it does again
        self._housekeeping = time.monotonic() + _HOUSEKEEPING

    def run(self) -> None:
        """Work until stopped, then finish what is in flight. Raises as `Worker.run`."""
        heartbeat = Heartbeat(self._settings, self._executor, self._reader.ahead, self._renew)
        try:
            self._executor.run()
        finally:
            if os.getpid() == self._pid:  # not in the child of a handler that forked: all of this is its parent's
                self._leave()
                heartbeat.stop()
                self._connection.close()
                self._second.close()

    def _renew(self, ids: Collection[bytes]) -> set[bytes]:
        return renew(self._second, self._settings, ids)

    def _turn(self) -> bool:
        """What the thread in the lead does: read once; false when it is over. Waits where Redis cannot serve."""
        if self._stopping.is_set() and not self._reader.asked:
            return False
        try:
            if self._resume:
                self._take_up()
            if self._settlement.failures:
                self._executor.settle()
            self._settlement.post(self._connection)
            if self._after:
                self._take_own()
            else:
                self._read()
            self._pause = 0.0
        except RedisError as error:
            self._pause = min(max(0.05, self._pause * 2), 1.0)
            self._mend(error)
            self._stopping.wait(self._pause)
        return True

    def _read(self) -> None:
        """What is left behind if it is time to look, then what is new. So neither starves the other."""
        reader, executor = self._reader, self._executor
        if not reader.asked:
            wait = self._recovery.wait(claims=reader.claims)
            retry = self._settlement.next_retry() - time.monotonic()
            due = wait <= 0 or (retry <= 0 and not reader.claims)
            if due and self._swept < _SWEEPS:
                if self._recover():
                    self._swept += 1
                    return
                due, wait = False, self._recovery.wait(claims=reader.claims)
            self._swept = 0
            if executor.running():  # what fails in another thread meanwhile may be due again so soon
                retry = min(retry, max(self._settings.retry_delay, _SHORT))
            block = 0 if due or self._more or executor.backlog else max(0.001, min(wait, retry, _BLOCK))
            reader.ask(executor.room(), block)
        ahead = executor.room(ahead=True) if self._more and not self._stopping.is_set() else 0
        if ahead and self._recovery.wait(claims=reader.claims) > 0:
            reader.ask(ahead)  # Redis works on it while we work on the answer to the one before
        messages, self._more = reader.answer()
        new = next((place for place, message in enumerate(messages) if message.deliveries == 1), len(messages))
        self._take("claimed", messages[:new])
        self._take("read", messages[new:] if new else messages)
        if time.monotonic() > self._housekeeping:
            self._housekeeping = time.monotonic() + _HOUSEKEEPING
            stream, group = self._settings.stream, self._settings.group
            forget_idle_consumers(self._connection, stream, group, max(10 * self._settings.claim_after, 600.0))

    def _recover(self) -> bool:
        messages, deleted = self._recovery.step(self._reader.bounded(self._executor.room()))
        self._reader.weigh(messages)
        self._deleted(deleted)
        self._take("claimed", messages)
        return bool(messages)

    def _take_up(self) -> None:
        """The group, and this consumer's own pending entries: after a start, and after every broken connection.

        A reply that was lost on its way has put its entries into the PEL of a consumer that never saw them. A heartbeat
        does not keep those, but no other worker can know that they were never seen: we look ourselves.
        """
        stream, group = self._settings.stream, self._settings.group
        made = create_group(self._connection, stream, group, start="0" if self.existed else self._start)
        if made and self.existed:
            log.warning("group %r of stream %r was gone: it is made again and starts at 0", group, stream)
            self._settings.tell("healed", (), "the group was gone")
        elif made:
            log.info("made group %r on stream %r", group, stream)
        if not self.existed:
            warn_of_eviction(self._connection, stream)
        self.existed = True
        # Older servers would list the consumer only after its first message.
        self._connection.call("XGROUP", "CREATECONSUMER", *self._settings.names)
        self._executor.settle()  # what was done before the connection broke
        self._after = b"-"
        self._resume = False
        if self._away:
            log.warning("Redis is back (it was away: %s)", self._away)
            self._settings.tell("reconnected", (), self._away)
            self._away = ""

    def _take_own(self) -> None:
        """Take the next of this consumer's own pending entries, except for those that this process knows of."""
        skip = [message.key for message in self._executor.in_flight()]
        skip += [*self._settlement.unconfirmed(), *self._settlement.waiting()]
        arguments = (self._after, self._reader.bounded(self._executor.room()), *skip)
        before = time.monotonic()
        last, rows, deleted = self._connection.run(scripts.TAKE_OWN, *self._settings.names, *arguments)
        self._after = b"(" + last if last else b""
        self._deleted(deleted)
        messages = [Message(key, raw, deliveries, before) for key, raw, deliveries in rows]
        self._reader.weigh(messages)
        self._take("own", messages)

    def _take(self, kind: str, messages: list[Message]) -> None:
        """Hand messages over; those that were delivered too often are dead-lettered instead."""
        if not messages:
            return
        self._settings.tell(kind, messages)
        if kind != "read":
            messages = self._settlement.within_limit(messages)
        if messages:
            self._executor.submit(messages)

    def _deleted(self, ids: Sequence[bytes]) -> None:
        if ids:
            text = "%d pending entries of stream %r were deleted (XDEL, XTRIM), first %s: nobody can handle them"
            log.warning(text, len(ids), self._settings.stream, ids[0].decode())
            self._settings.tell("deleted", [Message(key, []) for key in ids])

    def _mend(self, error: RedisError) -> None:
        """Decide what an error of Redis means: raise it, or prepare the next try."""
        if is_final(error):
            raise error
        self._resume = True
        self._reader.reset()
        if not is_group_gone(error):  # else it is made again, and told, by `_take_up`
            kind = "is away" if isinstance(error, RedisConnectionError) or is_elsewhere(error) else "refuses"
            log.warning("Redis %s (%s): trying again", kind, error)
            self._away = str(error)

    def _leave(self) -> None:
        """Finish what is in flight. What cannot be settled stays pending, and will be claimed."""
        settings = self._settings
        try:
            self._executor.settle()
            leave_group(self._connection, settings.stream, settings.group, settings.consumer)
        except RedisError as error:
            text = "cannot delete consumer %r (%s): leaving it, XINFO CONSUMERS will list it"
            log.warning(text, settings.consumer, error)
