"""Threads for handlers that wait: messages run side by side, and none waits for the slowest of its batch."""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import Any

from redis.exceptions import RedisError

from streamlab.queue.hands import Handler
from streamlab.queue.link import Link, Value
from streamlab.queue.message import Message, Observer
from streamlab.queue.outcome import Outcome

log = logging.getLogger(__name__)

#: A message whose handler has ended, and the error that ended it.
Ended = tuple[Message, Exception | None]

_PATIENCE = 5.0  # seconds for Redis to take the last outcomes, at the end


class Window:
    """A bounded number of messages in the hands of as many threads; the same methods as `Hands`.

    One more thread acknowledges, over a connection of its own: what ends while one acknowledgement is under way
    travels with the next.
    """

    def __init__(
        self,
        threads: int,
        link: Link,
        handler: Handler,
        outcome: Outcome,
        *,
        batch: int,
        claim_after: float,
        observe: Observer | None,
    ) -> None:
        self._link = link
        self._handler = handler
        self._outcome = outcome.on(link)
        self._batch = batch
        self._claim_after = claim_after
        self._observe = observe
        self._in_hand: dict[str, tuple[Message, float]] = {}  # by entry ID: the message and when it came
        self._free = threading.Semaphore(threads)
        self._give_up = float("inf")
        self._todo: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[Ended | None] = queue.SimpleQueue()
        self._workers = [
            threading.Thread(target=self._work, name=f"handler {number}", daemon=True) for number in range(threads)
        ]
        self._settler = threading.Thread(target=self._settle_all, name="acknowledger", daemon=True)
        for thread in (*self._workers, self._settler):
            thread.start()

    def places(self) -> int:
        """Reserve as many places as are free, up to a batch; waits a moment for the first. 0 when all are taken."""
        if not self._free.acquire(timeout=0.05):
            return 0
        places = 1
        while places < self._batch and self._free.acquire(blocking=False):
            places += 1
        return places

    def release(self, places: int) -> None:
        """Give back places that were reserved and not used."""
        if places:
            self._free.release(places)

    def take(self, messages: list[Message], before: float) -> None:
        """Start on messages, each in a place that was reserved for it."""
        for message in messages:
            self._in_hand[message.id] = (message, before)
            self._todo.put(message)

    def ack_commands(self) -> list[tuple[Value, ...]]:
        """None: acknowledging has its own thread."""
        return []

    def acked(self, replies: list[Any]) -> None:
        """Nothing to take note of."""

    def flush(self) -> None:
        """Nothing to do."""

    def held(self) -> set[str]:
        """Entry IDs of all messages in hand."""
        return set(self._in_hand.copy())

    def held_long(self) -> set[str]:
        """For the heartbeat: what has been in hand for a quarter of `claim_after`."""
        quarter = time.monotonic() - self._claim_after / 4
        return {entry for entry, (_, came) in self._in_hand.copy().items() if came < quarter}

    def confirm(self, before: float, lost: set[str]) -> None:
        """Nothing to take note of: whatever is in hand has been started."""

    def close(self) -> None:
        """Finish everything, then end the threads. What Redis does not take within 5 s stays pending."""
        for _ in self._workers:
            self._todo.put(None)
        for thread in self._workers:
            thread.join()
        self._give_up = time.monotonic() + _PATIENCE
        self._ended.put(None)
        self._settler.join()
        self._link.close()

    def _work(self) -> None:
        while (message := self._todo.get()) is not None:
            self._ended.put((message, self._call(message)))

    def _call(self, message: Message) -> Exception | None:
        if self._observe is not None:
            self._observe("started", (message,))
        try:
            self._handler(message)
        except Exception as error:
            return error
        if self._observe is not None:
            self._observe("done", (message,))
        return None

    def _settle_all(self) -> None:
        closing = False
        while not closing:
            batch = [self._ended.get()]
            while not self._ended.empty():
                batch.append(self._ended.get())
            closing = None in batch
            ended = [item for item in batch if item is not None]
            messages = [message for message, _ in ended]
            while ended:
                try:
                    self._settle(ended)
                except RedisError as error:
                    log.warning("%d outcome(s) not written yet: %s", len(ended), error)
                    if time.monotonic() > self._give_up:
                        break
                    time.sleep(0.1)
            for message in messages:
                del self._in_hand[message.id]
            self.release(len(messages))

    def _settle(self, ended: list[Ended]) -> None:
        """Write outcomes, and take out of the list what was written."""
        done = [message for message, error in ended if error is None]
        self._outcome.ack(done)
        if done and self._observe is not None:
            self._observe("acked", done)
        ended[:] = [item for item in ended if item[1] is not None]
        while ended:
            message, error = ended[-1]
            assert error is not None
            self._outcome.failed(message, error)
            ended.pop()
