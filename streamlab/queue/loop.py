"""One run of a worker: recover what is left behind, read what is new, hand it to the executor, over and over."""

import logging
import os
import threading
import time
from collections.abc import Sequence
from functools import partial

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from streamlab.queue.connection import Connection
from streamlab.queue.errors import is_elsewhere, is_final, is_group_gone
from streamlab.queue.executor import Executor
from streamlab.queue.group import create_group, forget_consumers, warn_of_eviction
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
        self._renew = partial(renew, self._second, settings)
        self._executor = Executor(handler, self._settlement, settings, self._renew, self._turn)
        self._pid = os.getpid()
        self.existed = False  # whether the group has been there: where it is not, it was lost
        self._resume = True  # our own pending entries may hold something that we never saw
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

    def _turn(self) -> bool:
        """What the thread in the lead does: read once; false when it is over. Waits where Redis cannot serve."""
        if self._stopping.is_set() and not self._reader.asked:
            return False
        try:
            if self._resume:
                self._take_up()
            if self._settlement.failures:
                self._settlement.flush()
            self._settlement.post(self._connection)
            if self._recovery.after:
                self._recover("own")
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
            retry = min(self._settlement.retries().values(), default=float("inf")) - time.monotonic()
            due = wait <= 0 or (retry <= 0 and not reader.claims)
            if due and self._swept < _SWEEPS:
                if self._recover("claimed"):
                    self._swept += 1
                    return
                due, wait = False, self._recovery.wait(claims=reader.claims)
            self._swept = 0
            if executor.running():  # what fails in another thread meanwhile may be due again so soon
                retry = min(retry, max(self._settings.retry_delay, _SHORT))
            block = 0 if due or self._more or executor.todo else max(0.001, min(wait, retry, _BLOCK))
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
            self._forget()

    def _recover(self, kind: str) -> bool:
        """Take what is pending already: our "own", or "claimed" from others; whether there was something."""
        count = self._reader.bounded(self._executor.room())
        if kind == "own":
            known = [message.key for message in self._executor.in_flight()]
            known += [*self._settlement.unconfirmed(), *self._settlement.retries()]
            messages, deleted = self._recovery.own(count, known)
        else:
            messages, deleted = self._recovery.step(count)
        if deleted:
            text = "%d pending entries of stream %r were deleted (XDEL, XTRIM), first %s: nobody can handle them"
            log.warning(text, len(deleted), self._settings.stream, deleted[0].decode())
            self._settings.tell("deleted", [Message(key, []) for key in deleted])
        self._reader.weigh(messages)
        self._take(kind, messages)
        return bool(messages)

    def _take(self, kind: str, messages: Sequence[Message]) -> None:
        """Hand messages over; those that were delivered too often are dead-lettered instead."""
        if messages:
            self._settings.tell(kind, messages)
            self._executor.submit(messages if kind == "read" else self._settlement.within_limit(messages))

    def _take_up(self) -> None:
        """The group, and this consumer's own pending entries: after a start, and after every broken connection.

        A reply that was lost on its way has put its entries into the PEL of a consumer that never saw them. A heartbeat
        does not keep those, but no other worker can know that they were never seen: we look ourselves.
        """
        stream, group, consumer = self._settings.names
        made = create_group(self._connection, stream, group, start="0" if self.existed else self._start)
        if made and self.existed:
            text = "group %r of stream %r was gone: it is made again and starts at 0"
            log.warning(text, self._settings.group, self._settings.stream)
            self._settings.tell("healed", (), "the group was gone")
        elif made:
            log.info("made group %r on stream %r", self._settings.group, self._settings.stream)
        if not self.existed:
            warn_of_eviction(self._connection, self._settings.stream)
        self.existed = True
        # Older servers would list the consumer only after its first message.
        self._connection.call("XGROUP", "CREATECONSUMER", stream, group, consumer)
        self._settlement.flush()  # what was done before the connection broke
        self._recovery.after = b"-"
        self._resume = False
        if self._away:
            log.warning("Redis is back (it was away: %s)", self._away)
            self._settings.tell("reconnected", (), self._away)
            self._away = ""

    def _mend(self, error: RedisError) -> None:
        """Decide what an error of Redis means: raise it, or prepare the next try."""
        if is_final(error):
            raise error
        self._resume = True
        self._reader.asked.clear()
        if not is_group_gone(error):  # else it is made again, and told, by `_take_up`
            kind = "is away" if isinstance(error, RedisConnectionError) or is_elsewhere(error) else "refuses"
            log.warning("Redis %s (%s): trying again", kind, error)
            self._away = str(error)

    def _forget(self, *, leaving: bool = False) -> None:
        """Delete consumers whose workers are gone, and if we leave our own."""
        stream, group, consumer = self._settings.names
        idle = max(10 * self._settings.claim_after, 600.0)
        forget_consumers(self._connection, stream, group, idle, consumer if leaving else b"")

    def _leave(self) -> None:
        """Finish what is in flight. What cannot be settled stays pending, and will be claimed."""
        try:
            self._settlement.flush()
            self._forget(leaving=True)
        except RedisError as error:
            if not is_group_gone(error):
                text = "cannot delete consumer %r (%s): leaving it, XINFO CONSUMERS will list it"
                log.warning(text, self._settings.consumer, error)
