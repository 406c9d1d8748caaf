"""Threads for handlers that wait: messages run side by side, and none waits for the slowest of its batch."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

from redis.exceptions import RedisError

from streamlab.queue.message import Message

log = logging.getLogger(__name__)

#: A message whose handler has ended, and the error that ended it.
Ended = tuple[Message, Exception | None]


class Window:
    """A bounded number of messages in the hands of as many threads.

    Args:
        threads: how many messages at once.
        run: the handler's call for one message; must not raise.
        settle: given a list of everything that ended since the last time (acknowledgements gather while one is under
            way); takes out of it what it has written. After a RedisError it is called again with the rest.
    """

    def __init__(
        self, threads: int, run: Callable[[Message], Exception | None], settle: Callable[[list[Ended]], None]
    ) -> None:
        self.held: dict[str, tuple[Message, float]] = {}  # by entry ID: the message and when it came
        self._run = run
        self._settle = settle
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

    def reserve(self, most: int, timeout: float) -> int:
        """Places for up to `most` messages; waits up to `timeout` seconds for the first. 0 when all are taken."""
        if not self._free.acquire(timeout=timeout):
            return 0
        places = 1
        while places < most and self._free.acquire(blocking=False):
            places += 1
        return places

    def release(self, places: int) -> None:
        """Give back places that were reserved and not used."""
        if places:
            self._free.release(places)

    def submit(self, message: Message) -> None:
        """Start on a message, in a place that was reserved for it."""
        self.held[message.id] = (message, time.monotonic())
        self._todo.put(message)

    def close(self, patience: float = 5.0) -> None:
        """Finish everything, then end the threads. What Redis does not take for `patience` seconds stays pending."""
        for _ in self._workers:
            self._todo.put(None)
        for thread in self._workers:
            thread.join()
        self._give_up = time.monotonic() + patience
        self._ended.put(None)
        self._settler.join()

    def _work(self) -> None:
        while (message := self._todo.get()) is not None:
            self._ended.put((message, self._run(message)))

    def _settle_all(self) -> None:
        closing = False
        while not closing:
            batch = [self._ended.get()]
            while not self._ended.empty():
                batch.append(self._ended.get())
            closing = None in batch
            ended = [item for item in batch if item is not None]
            places = len(ended)
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
                del self.held[message.id]
            if places:
                self._free.release(places)
