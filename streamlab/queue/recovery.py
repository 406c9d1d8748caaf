"""Finding messages that are pending and whose worker will not finish them: our own, after a restart, and others'.

Idle time is Redis's wall clock: a step forward lets work in progress be claimed, a step back keeps what a dead worker
left from being claimed for as long.
"""

import random
import time
from collections.abc import Iterable

from streamlab.queue import scripts
from streamlab.queue.connection import Connection
from streamlab.queue.message import Message
from streamlab.queue.settings import Settings

_SHARE = 0.05  # of a worker's time that looking in vain may take
_STEP = 0.02  # seconds of looking in vain before new messages get their turn

#: Messages that are this consumer's now, and IDs of pending entries that were deleted from the stream.
Found = tuple[list[Message], list[bytes]]


class Recovery:
    """Looks through a group's pending entries for one consumer.

    Attributes:
        after: the ID behind which the consumer's own are still to be looked through; empty when they have been.
    """

    def __init__(self, connection: Connection, settings: Settings) -> None:
        self.after = b""
        self._connection = connection
        self._settings = settings
        self._idle = int(settings.claim_after * 1000)
        self._cursor = b"0-0"
        self._next = 0.0
        self._every = min(max(settings.claim_after / 20, 0.05), 1.0)

    def own(self, count: int, known: Iterable[bytes]) -> Found:
        """Take up to `count` of this consumer's own pending entries, except for those that its process knows of."""
        before = time.monotonic()
        where = (*self._settings.names, self.after)
        last, rows, deleted = self._connection.call("EVAL", scripts.TAKE_OWN, 1, *where, count, *known)
        self.after = b"(" + last if last else b""
        return [Message(key, raw, deliveries, before) for key, raw, deliveries in rows], deleted

    def wait(self, *, claims: bool) -> float:
        """Return seconds until the next step is due; 0 or less when it is.

        Where reads claim, too, a sweep is only for deleted entries, which they leave pending.
        """
        return self._next + (max(self._settings.claim_after, 1.0) if claims else 0.0) - time.monotonic()

    def step(self, count: int) -> Found:
        """Claim up to `count` idle messages of any consumer.

        A sweep follows XAUTOCLAIM's cursor through the whole pending list, and starts over at its end. A step ends at
        the first that it finds, at the end of the list, or after some 20 ms: the next step goes on from there.
        """
        started = time.monotonic()
        while True:
            command = ("XAUTOCLAIM", *self._settings.names, self._idle, self._cursor, "COUNT", count)
            self._cursor, rows, *more = self._connection.call(*command)
            # Redis 6.2 answers nil for an entry that was deleted; from 7.0 on, the IDs come in a third element.
            rows = [row for row in rows if row is not None]
            deleted = more[0] if more else []
            now = time.monotonic()
            if rows or deleted or self._cursor == b"0-0" or now - started > _STEP:
                break
        if deleted:
            self._connection.call("HDEL", self._settings.failures, *deleted)
        # Workers that were started together should not sweep together.
        pause = self._every * random.uniform(0.8, 1.0) if self._cursor == b"0-0" else 0.0
        spent = min(now - started, _STEP)  # what is more than a step was a Redis that stood still, not our looking
        # Where one message was left behind there are often more.
        self._next = now + (0.0 if rows else max(pause, spent / _SHARE))
        if not rows:
            return [], deleted
        keys = [key for key, _ in rows]
        counts = self._connection.call("EVAL", scripts.COUNT, 1, *self._settings.names, *keys)
        # No count: it is not ours any more.
        found = zip(rows, counts, strict=True)
        return [Message(key, raw, count, started) for (key, raw), count in found if count], deleted
