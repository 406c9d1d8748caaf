"""Finding messages whose worker will not finish them, and taking them over.

A sweep follows XAUTOCLAIM's cursor through the whole pending list, a bounded part of it at a time, and starts
over at its end. Starting each call at 0-0 instead would look at the same first entries for ever, and none behind
them would be found while those are still fresh.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from streamlab.queue.keys import failures_hash
from streamlab.queue.link import Link
from streamlab.queue.message import Message

_SHARE = 0.05  # of a worker's time that looking in vain may take
_STEP = 0.02  # seconds of looking in vain before new messages get their turn


@dataclass
class Found:
    """What one step of a sweep brought: messages that now are this consumer's, and entry IDs that are gone."""

    messages: list[Message] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)


class Recovery:
    """Sweeps a group's pending entries for one consumer.

    Args:
        link: connection to Redis.
        stream: key of the stream.
        group: the consumer group.
        consumer: the consumer that takes over what is found.
        claim_after: seconds without a sign of life after which a message may be taken over.
    """

    def __init__(self, link: Link, stream: str, group: str, consumer: str, claim_after: float) -> None:
        self._link = link
        self._stream = stream
        self._group = group
        self._consumer = consumer
        self._claim_after = claim_after
        self._failures = failures_hash(stream, group)
        self._cursor = "0-0"
        self._next = 0.0
        #: Seconds between two sweeps: prompt for a short `claim_after`, quiet for a long one.
        self.every = min(max(claim_after / 20, 0.02), 0.15)

    @property
    def wait(self) -> float:
        """Seconds until the next step is due; 0 or less when it is."""
        return self._next - time.monotonic()

    def step(self, count: int, held: Collection[str]) -> Found:
        """Claim up to `count` idle messages; those in `held` are in this worker's hands already and are left out.

        Ends at the first that it finds, at the end of the pending list, or after some 20 ms: the next step goes on from
        there.
        """
        started = time.monotonic()
        found = Found()
        while True:
            reply = self._link.call(
                "XAUTOCLAIM", self._stream, self._group, self._consumer,
                int(self._claim_after * 1000), self._cursor, "COUNT", count,
            )  # fmt: skip
            self._cursor = reply[0].decode()
            # Redis 6.2 answers nil for a pending entry that was deleted; from 7.0 on its ID comes in a third element.
            rows = [row for row in reply[1] if row is not None]
            found.deleted = [entry.decode() for entry in reply[2]] if len(reply) > 2 else []
            now = time.monotonic()
            if rows or found.deleted or self._cursor == "0-0" or now - started > _STEP:
                break
        if found.deleted:
            self._link.call("HDEL", self._failures, *found.deleted)
        if rows:
            found.messages = [message for message in self.counted(rows, held) if message.id not in held]
        self._schedule(started, bool(rows))
        return found

    def counted(self, rows: list[Any], held: Collection[str]) -> list[Message]:
        """Entries that were just claimed or read again, with their delivery counts, which those replies leave out."""
        ids = [row[0] for row in rows]
        # Between the first and the last there may be others of this consumer, but no more than it holds.
        pending = self._link.call(
            "XPENDING", self._stream, self._group, min(ids, key=_order), max(ids, key=_order),
            len(rows) + len(held), self._consumer,
        )  # fmt: skip
        counts = {row[0]: int(row[3]) for row in pending}
        return [Message(row[0], row[1], counts.get(row[0], 1)) for row in rows]

    def _schedule(self, started: float, claimed: bool) -> None:
        now = time.monotonic()
        if claimed:  # where one message was left behind there are often more
            self._next = now
        else:
            pause = self.every if self._cursor == "0-0" else 0.0
            spent = min(now - started, _STEP)  # what is more than a step was a Redis that stood still, not our looking
            self._next = now + max(pause, spent / _SHARE)


def _order(entry_id: bytes) -> tuple[int, int]:
    milliseconds, sequence = entry_id.split(b"-")
    return int(milliseconds), int(sequence)
