"""The messages that a worker holds, worked through one after another in the thread that reads them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import RedisError

from streamlab.queue.heartbeat import renew
from streamlab.queue.link import Link, Value
from streamlab.queue.message import Message, Observer
from streamlab.queue.outcome import Outcome

Handler = Callable[[Message], object]

_AHEAD = 0.02  # seconds of work that may be read ahead: what a slow worker holds, no other can do
_ACK_WITHIN = 0.005  # seconds that an acknowledgement may wait for others


class Hands:
    """For `Worker`, with `threads=1`; `Window` is the same for several threads, and has the same methods.

    Acknowledgements of quick handlers gather, and leave with the next read; those of slow ones leave at once. How many
    messages are read at a time follows from how long they take.
    """

    def __init__(
        self,
        link: Link,
        names: tuple[str, str, str],
        handler: Handler,
        outcome: Outcome,
        *,
        batch: int,
        claim_after: float,
        observe: Observer | None,
    ) -> None:
        self._link = link
        self._names = names
        self._handler = handler
        self._outcome = outcome
        self._batch = batch
        self._claim_after = claim_after
        self._observe = observe
        self._count = 1  # messages to read next
        self._messages: Sequence[Message] = ()  # read, and being worked through
        self._acks: list[Message] = []  # done, and XACK not answered yet
        self._confirmed = 0.0  # when the messages were last known to be ours, monotonic
        self._lost: set[str] = set()  # those of them that are known to be another consumer's by now

    def places(self) -> int:
        """How many messages may be read now."""
        return self._count

    def release(self, places: int) -> None:
        """Give back places that were not used; here they are not counted."""

    def take(self, messages: list[Message], before: float) -> None:
        """Work on messages that were asked for at the monotonic time `before`."""
        if not messages:
            return
        self._confirmed = before
        self._lost = set()
        self._messages = messages
        started = time.monotonic()
        try:
            self._work_through(messages)
        finally:
            self._messages = ()
        each = (time.monotonic() - started) / len(messages)
        self._count = max(1, min(self._batch, 2 * self._count, int(_AHEAD / each) if each else self._batch))

    def _work_through(self, messages: list[Message]) -> None:
        """The loop that everything else is there for; a microsecond here is a microsecond a message."""
        monotonic, handler, observe = time.monotonic, self._handler, self._observe
        doubtful = self._claim_after / 2
        acks = self._acks
        flushed = monotonic()
        for index, message in enumerate(messages):
            now = monotonic()
            if now - flushed > _ACK_WITHIN:
                self.flush()
                acks = self._acks
                flushed = now
            if now - self._confirmed > doubtful:
                # We stood still, or a handler took long and no sign of life got through: look before going on.
                before = monotonic()
                self.confirm(before, renew(self._link, *self._names, [m.id for m in messages[index:]]))
            if self._lost and message.id in self._lost:
                if observe is not None:
                    observe("disowned", (message,), "before it was started")
                continue
            if observe is not None:
                observe("started", (message,))
            try:
                handler(message)
            except Exception as error:
                self._outcome.failed(message, error)
            else:
                if observe is not None:
                    observe("done", (message,))
                acks.append(message)

    def ack_commands(self) -> list[tuple[Value, ...]]:
        """The commands that acknowledge what is done, to travel with the next read; tell `acked` their replies."""
        return self._outcome.ack_commands(self._acks)

    def acked(self, replies: list[Any]) -> None:
        """The replies to `ack_commands`; an error among them is raised."""
        for reply in replies:
            if isinstance(reply, RedisError):
                raise reply
        if replies:
            acks, self._acks = self._acks, []
            if self._observe is not None:
                self._observe("acked", acks)

    def flush(self) -> None:
        """Acknowledge what is done, now. If the connection fails, the next time says it again."""
        commands = self.ack_commands()
        if commands:
            self._link.send(*commands)
            self.acked([self._link.receive() for _ in commands])

    def held(self) -> set[str]:
        """Entry IDs of all messages in hand, and of those whose acknowledgement is not certain."""
        return {m.id for m in self._messages} | {m.id for m in self._acks}

    def held_long(self) -> set[str]:
        """For the heartbeat: what has been in hand for a quarter of `claim_after`."""
        quarter = time.monotonic() - self._claim_after / 4
        return {m.id for m in self._messages} if self._confirmed < quarter else set()

    def confirm(self, before: float, lost: set[str]) -> None:
        """What is in hand was ours at the monotonic time `before`, except for `lost`."""
        self._lost |= lost
        self._confirmed = before

    def close(self) -> None:
        """Nothing to wait for: what is in hand is finished when `take` returns."""
