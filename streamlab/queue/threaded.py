"""The threaded executor: handlers that wait run side by side, and no message waits for the slowest of its batch."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Collection

from redis.exceptions import RedisError

from streamlab.queue.errors import is_final
from streamlab.queue.executor import AHEAD, Timed, finish
from streamlab.queue.message import Handler, Message
from streamlab.queue.settings import Settings
from streamlab.queue.settlement import Settlement

log = logging.getLogger(__name__)

_PATIENCE = 5.0  # seconds for Redis to take the last settlements, at the end
_SETTLE_WITHIN = 0.005  # seconds that a message may wait to be settled together with others
_STALL = 0.02  # seconds after which a queue that nobody takes from gets another thread
_WORTH = 0.001  # seconds of work that are worth waking another thread


class ThreadedExecutor:
    """For `threads` > 1.

    All handler threads take from one queue, so that a message waits only while all of them are busy. One more thread
    settles: what ends while one acknowledgement is under way travels with the next. `renew` is `heartbeat.renew`;
    `failed` is told the error that ends one of the threads.
    """

    def __init__(
        self,
        handler: Handler,
        settlement: Settlement,
        settings: Settings,
        renew: Callable[[Collection[bytes]], set[bytes]],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._handler = handler
        self._settlement = settlement
        self._settings = settings
        self._renew = renew
        self._failed = failed
        self._each: float | None = None  # seconds that a handler takes, a moving average
        self._flights: dict[bytes, tuple[Message, float]] = {}  # by entry ID: the message, and when it was asked for
        self._confirmed = 0.0  # when they were last known to be ours, monotonic
        self._lost: set[bytes] = set()  # those of them that are known to be another consumer's by now
        self._running: dict[int, tuple[Message, float]] = {}  # by thread: what it runs, and since when
        self._abandoned: set[int] = set()  # threads whose handler hangs
        self._todo: deque[Message] = deque()
        self._wakes: queue.SimpleQueue[bool] = queue.SimpleQueue()  # an item wakes a handler thread; False ends it
        self._ended: deque[tuple[Message, Exception | None]] = deque()
        self._settle: queue.SimpleQueue[bool] = queue.SimpleQueue()  # an item wakes the settler; False ends it
        self._room = threading.Event()
        self._deadline = float("inf")  # for the last settlements
        self._threads = [
            threading.Thread(target=self._guarded, args=(self._work, number), name=f"handler {number}", daemon=True)
            for number in range(settings.threads)
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
        free = limit - len(self._flights)
        return min(free, self._settings.batch) if free >= enough else 0

    def _limit(self) -> tuple[int, int]:
        """Return how many may be in flight, and how many places are worth a read."""
        threads = len(self._threads) - len(self._abandoned)
        if not self._each or not threads:
            return threads, 1
        batch = self._settings.batch
        ahead = int(min(AHEAD * threads / self._each, 2 * batch))
        return threads + ahead, min(1 + ahead // 2, batch)

    def room_ahead(self) -> int:
        return 0  # reading has a thread of its own, and is ahead in any case

    def submit(self, messages: list[Message], asked: float) -> None:
        """Start on messages. One that is in flight already is left to the handler that has it."""
        flights = self._flights
        if not flights.keys().isdisjoint([message.key for message in messages]):
            messages = [message for message in messages if message.key not in flights]
        if not flights:
            self._settle.put(True)  # the settler begins to watch for a stall
        flights.update({message.key: (message, asked) for message in messages})
        self._todo.extend(messages)
        # Waking a thread costs more than a quick handler: one thread does them all, unless they take long together.
        worth = len(messages) if self._each is None else int(len(messages) * self._each / _WORTH) + 1
        for _ in range(min(len(self._threads), len(messages), worth)):
            self._wakes.put(True)

    def in_flight(self) -> Timed:
        return [] if len(self._abandoned) == len(self._threads) else list(self._flights.copy().values())

    def running(self) -> Timed:
        return [it for number, it in self._running.copy().items() if number not in self._abandoned]

    def abandon(self, message: Message) -> None:
        """Regard it as no longer in flight; its thread counts again when the handler returns."""
        self._abandoned |= {number for number, (it, _) in self._running.copy().items() if it is message}
        self._forget(message)

    def confirm(self, when: float, lost: set[bytes]) -> None:
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
        self._settle.put(False)
        self._settler.join()

    def _guarded(self, work: Callable[..., None], *arguments: int) -> None:
        """Run a thread; what ends it ends the worker."""
        try:
            work(*arguments)
        except BaseException as error:
            self._failed(error)

    def _forget(self, message: Message) -> None:
        if self._flights.get(message.key, (None,))[0] is message:  # else it was abandoned, and delivered again
            del self._flights[message.key]
            self._lost.discard(message.key)

    def _work(self, number: int) -> None:
        """Take from the queue until it is empty, each time that an item wakes this thread."""
        monotonic, running, todo, ended = time.monotonic, self._running, self._todo, self._ended
        alive = True
        while alive:
            alive = self._wakes.get()
            count = 0
            now = started = settled = monotonic()
            try:
                while todo:
                    message = todo.popleft()
                    running[number] = message, now
                    ended.append((message, self._call(message, now)))
                    if number in self._abandoned:
                        self._abandoned.discard(number)
                    count += 1
                    now = monotonic()
                    if now - settled > _SETTLE_WITHIN:
                        self._settle.put(True)
                        settled = now
                        self._note(now - started, count)
                        started, count = now, 0
            except IndexError:  # another thread took the last one
                pass
            except BaseException:
                self._forget(message)
                raise
            finally:
                running.pop(number, None)
            if count:
                self._settle.put(True)
                self._note(now - started, count)

    def _note(self, seconds: float, count: int) -> None:
        each = max(seconds / count, 1e-7)
        self._each = each if self._each is None else self._each + (each - self._each) * min(1.0, 0.05 * count)

    def _call(self, message: Message, now: float) -> Exception | None:
        observe = self._settings.observe
        if self._is_lost(message, now):
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

    def _is_lost(self, message: Message, now: float) -> bool:
        """Whether another consumer has claimed a message that waited so long, by what is known or by asking."""
        half = self._settings.claim_after / 2
        if now - self._confirmed > half and now - self._flights.get(message.key, (message, now))[1] > half:
            try:
                self._lost |= self._renew([message.key])
            except RedisError as error:
                log.warning("cannot ask whether message %s is still ours (%s): handling it", message.id, error)
        return message.key in self._lost

    def _settle_all(self) -> None:
        alive = True
        while alive or (self._flights and time.monotonic() < self._deadline):
            try:
                alive = self._settle.get(timeout=_STALL if self._flights else None) and alive
            except queue.Empty:
                if self._todo:  # a handler that was quick so far holds up those behind it
                    self._wakes.put(True)
            ended = [self._ended.popleft() for _ in range(len(self._ended))]
            self._settle_some(ended)
            for message, _ in ended:
                self._forget(message)
            self._room.set()

    def _settle_some(self, ended: list[tuple[Message, Exception | None]]) -> None:
        """Settle them all, over and over until Redis takes it."""
        settlement = self._settlement
        settlement.done += [message for message, error in ended if error is None]
        failed = [(message, error) for message, error in ended if error is not None and error is not _DISOWNED]
        pause = 0.05
        while settlement.done or failed:
            try:
                settlement.flush()
                while failed:
                    settlement.failed(*failed[-1])
                    self._forget(failed.pop()[0])  # now: it may be due again at once
            except RedisError as error:
                if is_final(error):
                    raise
                unsettled = len(settlement.done) + len(failed)
                log.warning("cannot settle %d message(s) (%s): trying again in %.2g s", unsettled, error, pause)
                if time.monotonic() > self._deadline:
                    return
                time.sleep(pause)
                pause = min(2 * pause, 1.0)


#: Ends a message that another consumer has claimed before its handler was started.
_DISOWNED = RuntimeError("disowned")
