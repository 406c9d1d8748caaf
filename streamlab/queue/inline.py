"""The inline executor: messages are handled one after another in the thread that reads them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from streamlab.queue.executor import AHEAD, Timed, finish
from streamlab.queue.message import Handler, Message
from streamlab.queue.settings import Settings
from streamlab.queue.settlement import Settlement

_ACK_WITHIN = 0.005  # seconds that an acknowledgement may wait for others


class InlineExecutor:
    """For `threads=1`; its settlement is on the connection that reads.

    Acknowledgements of quick handlers gather, and leave with the next read; those of slow ones leave at once. How many
    messages are read at a time follows from how long they take. `renew` is `heartbeat.renew`.
    """

    def __init__(
        self,
        handler: Handler,
        settlement: Settlement,
        settings: Settings,
        renew: Callable[[Collection[bytes]], set[bytes]],
    ) -> None:
        self._handler = handler
        self._settlement = settlement
        self._settings = settings
        self._renew = renew
        self._count = 1  # messages to read next
        self._quick = False  # whether two batches are little enough work to be in flight
        self._messages: Sequence[Message] = ()  # read, and being worked through
        self._current: Message | None = None
        self._since = 0.0  # when its handler was started, monotonic
        self._abandoned: Message | None = None
        self._confirmed = 0.0  # when the messages were last known to be ours, monotonic
        self._lost: set[bytes] = set()  # those of them that are known to be another consumer's by now

    def room(self) -> int:
        return self._count

    def room_ahead(self) -> int:
        return self._count if self._quick else 0

    def submit(self, messages: list[Message], asked: float) -> None:
        """Work the messages through; their acknowledgements leave with the next command."""
        self._confirmed = asked
        self._lost = set()
        self._messages = messages
        started = time.monotonic()
        try:
            self._work_through(messages)
        finally:
            self._messages = ()
            self._current = None
        each = max(time.monotonic() - started, 1e-9) / len(messages)
        self._count = max(1, min(self._settings.batch, 2 * self._count, int(AHEAD / 2 / each)))
        self._quick = each * self._count <= AHEAD / 2
        self._settlement.post()

    def _work_through(self, messages: list[Message]) -> None:
        """The loop that everything else is there for; a microsecond here is a microsecond a message."""
        monotonic, handler, settlement = time.monotonic, self._handler, self._settlement
        observe = self._settings.observe
        done = settlement.done.append
        doubtful = self._settings.claim_after / 2
        flushed = monotonic()
        for index, message in enumerate(messages):
            now = monotonic()
            if now - flushed > _ACK_WITHIN:
                settlement.flush()
                flushed = now
            if now - self._confirmed > doubtful:
                # We stood still, or a handler took long and no heartbeat got through: look before going on.
                before = monotonic()
                self.confirm(before, self._renew([m.key for m in messages[index:]]))
            if self._lost and message.key in self._lost:
                if observe is not None:
                    observe("disowned", (message,), "before it was started")
                continue
            self._since = now
            self._current = message
            if observe is not None:
                observe("started", (message,))
            try:
                result = handler(message)
                if result is not None:
                    finish(result)
            except Exception as error:
                settlement.failed(message, error)
            else:
                if observe is not None:
                    observe("done", (message,))
                done(message)

    def in_flight(self) -> Timed:
        if self._abandoned is not None and self._abandoned is self._current:
            return ()
        confirmed = self._confirmed
        return [(message, confirmed) for message in self._messages]

    def running(self) -> Timed:
        since, message = self._since, self._current
        return [(message, since)] if message is not None and message is not self._abandoned else []

    def abandon(self, message: Message) -> None:
        """Regard it and all behind it as no longer in flight, until its handler returns."""
        self._abandoned = message

    def confirm(self, when: float, lost: set[bytes]) -> None:
        self._lost |= lost
        self._confirmed = when

    def close(self) -> None:
        self._settlement.flush()
