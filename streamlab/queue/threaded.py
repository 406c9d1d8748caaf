"""The threaded executor: handlers that wait run side by side, and no message waits for the slowest of its batch."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from redis.exceptions import RedisError

from streamlab.queue.errors import is_final
from streamlab.queue.executor import AHEAD, finish
from streamlab.queue.message import Handler, Message, Observer
from streamlab.queue.settlement import Settlement

log = logging.getLogger(__name__)

_PATIENCE = 5.0  # seconds for Redis to take the last settlements, at the end
_STALL = 0.02  # seconds without a settlement after which a queue that is not empty gets another thread
_WAKE_FOR = 0.001  # seconds of work that are worth waking another thread


#: Ends a message that another consumer has claimed before its handler was started.
_DISOWNED = RuntimeError("disowned")


class Flight(NamedTuple):
    """A message in flight, and the monotonic time at which it was asked for."""

    message: Message
    asked: float


class ThreadedExecutor:
    """For `threads` > 1.

    All handler threads take from one queue, so that a message waits only while all of them are busy. One more thread
    settles, over a connection of its own: what ends while one acknowledgement is under way travels with the next.

    Args:
        threads: number of handler threads.
        handler: called with each message, from several threads.
        settlement: on a connection of its own.
        batch: messages to read at a time, at most.
        claim_after: seconds after which an idle message may be claimed.
        renew: resets the idle time of entries; returns the IDs of those that are not ours (see `heartbeat.renew`).
        failed: told the error that ends one of the threads; the worker ends with it.
        observe: told when a handler starts and ends; None spares the calls.
    """

    def __init__(
        self,
        threads: int,
        handler: Handler,
        settlement: Settlement,
        *,
        batch: int,
        claim_after: float,
        renew: Callable[[Collection[bytes]], set[bytes]],
        failed: Callable[[BaseException], None],
        observe: Observer | None,
    ) -> None:
        self._handler = handler
        self._settlement = settlement
        self._batch = batch
        self._claim_after = claim_after
        self._renew = renew
        self._failed = failed
        self._observe = observe
        self._each: float | None = None  # seconds that a handler takes, a moving average
        self._flights: dict[bytes, Flight] = {}  # by entry ID
        self._confirmed = 0.0  # when they were last known to be ours, monotonic
        self._lost: set[bytes] = set()  # those of them that are known to be another consumer's by now
        self._running: dict[int, tuple[Flight, float]] = {}  # by thread: what it runs, and since when
        self._abandoned: set[int] = set()  # threads whose handler hangs
        self._todo: deque[Flight] = deque()
        self._wakes: queue.SimpleQueue[bool] = queue.SimpleQueue()  # an item wakes a handler thread; False ends it
        self._ended: queue.SimpleQueue[tuple[Flight, Exception | None] | None] = queue.SimpleQueue()
        self._room = threading.Event()
        self._deadline = float("inf")  # for the last settlements
        self._threads = [
            threading.Thread(target=self._guarded, args=(self._work, number), name=f"handler {number}", daemon=True)
            for number in range(threads)
        ]
        self._settler = threading.Thread(target=self._guarded, args=(self._settle_all,), name="settler", daemon=True)
        for thread in (*self._threads, self._settler):
            thread.start()

    def room(self) -> int:
        """Return the free places: one a thread, and more where handlers are quick enough to need the next soon."""
        limit, enough = self._limit()
        if limit - len(self._flights) < enough:
            self._room.wait(0.05)
            self._room.clear()
        return max(0, min(limit - len(self._flights), self._batch))

    def _limit(self) -> tuple[int, int]:
        """Return how many may be in flight, and how many places are worth a read."""
        threads = len(self._threads) - len(self._abandoned)
        if not self._each or not threads:
            return threads, 1
        ahead = int(min(AHEAD * threads / self._each, 2 * self._batch))
        return threads + ahead, min(1 + ahead // 2, self._batch)

    def room_ahead(self) -> int:
        """None: reading has its own thread, and is ahead in any case."""
        return 0

    def submit(self, messages: list[Message], asked: float) -> None:
        """Start on messages. One that is in flight already is left to the handler that has it."""
        flights = [Flight(message, asked) for message in messages if message.key not in self._flights]
        if not flights:
            return
        idle = not self._flights
        for flight in flights:
            self._flights[flight.message.key] = flight
        self._todo.extend(flights)
        # Waking a thread costs more than a quick handler: one thread does them all, unless they take long together.
        work = len(flights) if self._each is None else int(len(flights) * self._each / _WAKE_FOR) + 1
        for _ in range(min(len(self._threads), len(flights), work)):
            self._wakes.put(True)
        if idle:
            self._ended.put(None)  # the settler begins to watch for a stall

    def in_flight(self) -> Sequence[tuple[Message, float]]:  # noqa: D102
        return [] if len(self._abandoned) == len(self._threads) else list(self._flights.copy().values())

    def running(self) -> Sequence[tuple[Message, float]]:  # noqa: D102
        return [
            (flight.message, since)
            for number, (flight, since) in self._running.copy().items()
            if number not in self._abandoned
        ]

    def abandon(self, message: Message) -> None:
        """Regard it as no longer in flight; its thread counts again when the handler returns."""
        for number, (flight, _) in self._running.copy().items():
            if flight.message is message:
                self._abandoned.add(number)
                if self._flights.get(message.key) is flight:
                    del self._flights[message.key]

    def confirm(self, when: float, lost: set[bytes]) -> None:  # noqa: D102
        self._lost |= lost & self._flights.keys()
        self._confirmed = when

    def close(self) -> None:
        """Finish everything, then end the threads. What Redis does not take within 5 s stays pending."""
        for _ in self._threads:
            self._wakes.put(False)
        for number, thread in enumerate(self._threads):
            while thread.is_alive() and number not in self._abandoned:
                thread.join(0.05)
        while self._todo:  # left by threads that an error has ended
            self._forget(self._todo.popleft())
        self._deadline = time.monotonic() + _PATIENCE
        self._ended.put(None)
        self._settler.join()

    def _guarded(self, work: Callable[..., None], *arguments: int) -> None:
        """Run a thread; what ends it ends the worker."""
        try:
            work(*arguments)
        except BaseException as error:
            self._failed(error)

    def _work(self, number: int) -> None:
        monotonic, running, todo = time.monotonic, self._running, self._todo
        alive = True
        while alive:
            alive = self._wakes.get()
            while True:
                try:
                    flight = todo.popleft()
                except IndexError:
                    break
                started = monotonic()
                running[number] = flight, started
                try:
                    self._ended.put((flight, self._call(flight, started)))
                except BaseException:
                    self._forget(flight)
                    raise
                finally:
                    del running[number]
                    self._abandoned.discard(number)
                took = monotonic() - started
                self._each = took if self._each is None else self._each + (took - self._each) * 0.05

    def _call(self, flight: Flight, now: float) -> Exception | None:
        observe, message = self._observe, flight.message
        if now - max(flight.asked, self._confirmed) > self._claim_after / 2:
            # We stood still, or it waited long and no heartbeat got through: look before going on.
            try:
                self._lost |= self._renew([message.key])
            except RedisError as error:
                log.warning("cannot ask whether message %s is still ours (%s): handling it", message.id, error)
        if self._lost and message.key in self._lost:
            if observe is not None:
                observe("disowned", (message,), "before it was started")
            return _DISOWNED
        if observe is not None:
            observe("started", (message,))
        try:
            result = self._handler(message)
            if result is not None:
                finish(result)
        except Exception as error:
            return error
        if observe is not None:
            observe("done", (message,))
        return None

    def _forget(self, flight: Flight) -> None:
        key = flight.message.key
        if self._flights.get(key) is flight:  # else it was abandoned, and delivered again
            del self._flights[key]
            self._lost.discard(key)

    def _settle_all(self) -> None:
        closing = False
        while not closing or (self._flights and time.monotonic() < self._deadline):
            self._settle(self._collect())
            self._room.set()
            closing = self._deadline < float("inf") and self._ended.empty()

    def _collect(self) -> list[tuple[Flight, Exception | None]]:
        """Wait for messages whose handlers have ended; all that there are."""
        batch = []
        try:
            batch.append(self._ended.get(timeout=_STALL if self._flights else None))
            while True:
                batch.append(self._ended.get_nowait())
        except queue.Empty:
            if not batch and self._todo:  # a handler that was quick so far holds up those behind it
                self._wakes.put(True)
        return [item for item in batch if item is not None]

    def _settle(self, ended: list[tuple[Flight, Exception | None]]) -> None:
        """Settle them all, over and over until Redis takes it."""
        settlement = self._settlement
        settlement.done += [flight.message for flight, error in ended if error is None]
        failed = [(flight, error) for flight, error in ended if error is not None and error is not _DISOWNED]
        pause = 0.05
        while settlement.done or failed:
            try:
                settlement.flush()
                while failed:
                    flight, error = failed[-1]
                    settlement.failed(flight.message, error)
                    failed.pop()
                    self._forget(flight)  # now: it may be due again at once
            except RedisError as error:
                if is_final(error):
                    raise
                unsettled = len(settlement.done) + len(failed)
                log.warning("cannot settle %d message(s) (%s): trying again in %.2g s", unsettled, error, pause)
                if time.monotonic() > self._deadline:
                    break
                time.sleep(pause)
                pause = min(2 * pause, 1.0)
        for flight, _ in ended:
            self._forget(flight)
