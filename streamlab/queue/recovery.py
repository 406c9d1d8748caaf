"""Finding messages whose worker will not finish them, and claiming them.

A sweep follows XAUTOCLAIM's cursor through the whole pending list, a bounded part of it at a time, and starts
over at its end. Starting each call at 0-0 instead would look at the same first entries for ever, and none behind
them would be found while those are still fresh.

Idle time is Redis's wall clock: a step forward lets work in progress be claimed, a step back keeps what a dead worker left
from being claimed for as long.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field

from streamlab.queue import scripts
from streamlab.queue.connection import Connection
from streamlab.queue.keys import failures_hash, to_bytes
from streamlab.queue.message import Message

_SHARE = 0.05  # of a worker's time that looking in vain may take
_STEP = 0.02  # seconds of looking in vain before new messages get their turn


@dataclass
class Found:
    """What one step of a sweep brought: messages that now are this consumer's, and entry IDs that are gone."""

    messages: list[Message] = field(default_factory=list)
    deleted: list[bytes] = field(default_factory=list)


class Recovery:
    """Sweeps a group's pending entries for one consumer.

    Args:
        connection: connection to Redis.
        stream: key of the stream.
        group: the consumer group.
        consumer: the consumer that claims what is found.
        claim_after: seconds after which an idle message may be claimed.
    """

    def __init__(self, connection: Connection, stream: str, group: str, consumer: str, claim_after: float) -> None:
        self._connection = connection
        self._names = [to_bytes(name) for name in (stream, group, consumer)]
        self._claim_after = claim_after
        self._failures = to_bytes(failures_hash(stream, group))
        self._cursor = b"0-0"
        self._next = 0.0
        #: Seconds in which an entry that has become idle enough should be found, at most.
        self.every = min(max(claim_after / 20, 0.05), 1.0)

    def wait(self, *, claims: bool) -> float:
        """Return seconds until the next step is due; 0 or less when it is.

        Args:
            claims: whether reads claim, too: then a sweep only is for deleted entries, which they leave pending.
        """
        return self._next + (max(self._claim_after, 1.0) if claims else 0.0) - time.monotonic()

    def step(self, count: int) -> Found:
        """Claim up to `count` idle messages.

        Ends at the first that it finds, at the end of the pending list, or after some 20 ms: the next step goes on from
        there.
        """
        started = time.monotonic()
        found = Found()
        while True:
            self._cursor, rows, found.deleted = self._connection.run(
                scripts.CLAIM, *self._names, int(self._claim_after * 1000), self._cursor, count
            )
            now = time.monotonic()
            if rows or found.deleted or self._cursor == b"0-0" or now - started > _STEP:
                break
        if found.deleted:
            self._connection.call("HDEL", self._failures, *found.deleted)
        found.messages = [Message(key, raw, int(deliveries)) for key, raw, deliveries in rows]
        self._schedule(started, bool(rows))
        return found

    def _schedule(self, started: float, claimed: bool) -> None:
        now = time.monotonic()
        if claimed:  # where one message was left behind there are often more
            self._next = now
        else:
            # Workers that were started together should not sweep together.
            pause = self.every * random.uniform(0.8, 1.0) if self._cursor == b"0-0" else 0.0
            spent = min(now - started, _STEP)  # what is more than a step was a Redis that stood still, not our looking
            self._next = now + max(pause, spent / _SHARE)
