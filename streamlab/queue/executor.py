"""What runs handlers: one or several threads that take turns at reading.

All threads are alike. They take messages from one queue; one that finds it nearly empty takes the lead: it reads, puts
what it got into the queue, gives up the lead, and goes on handling. Quick handlers stay in one thread that way, without
a hand-over for each message: waking another thread costs more than they do. Handlers that wait wake as many threads as
they are worth. So a message waits only while all threads are busy, and a handler that hangs holds up only its thread.
"""

import asyncio
import contextlib
import functools
import inspect
import logging
import os
import queue
import threading
import time
import types
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import RedisError

from streamlab.queue.errors import is_final
from streamlab.queue.message import LOST, Handler, Message, Renew
from streamlab.queue.settings import Settings
from streamlab.queue.settlement import Settlement

log = logging.getLogger(__name__)

_AHEAD = 0.02  # seconds of work that may be in flight: what a slow worker has read, no other can do
_WORTH = 0.001  # seconds of work that are worth waking another thread
_STALL = 0.02  # seconds after which a thread that nobody woke looks whether others make progress
_SETTLE_WITHIN = 0.005  # seconds that an acknowledgement may wait for others
_PAUSE = 0.1  # seconds between two attempts to settle, where Redis is away


class Executor:
    """Handles messages in `settings.threads` threads; the one that calls `run` is the first of them.

    The thread that has the lead calls `turn`, which reads and calls `submit`, and is false when the worker is to end.
    """

    def __init__(
        self, handler: Handler, settlement: Settlement, settings: Settings, renew: Renew, turn: Callable[[], bool]
    ) -> None:
        self.todo: deque[Message] = deque()  # messages that wait for a thread
        self._handler = handler
        self._settlement = settlement
        self._settings = settings
        self._renew = renew
        self._turn = turn
        self._threads = settings.threads
        self._running: dict[int, tuple[Message, float]] = {}  # by thread: what it handles, and since when (monotonic)
        self._abandoned: set[int] = set()  # threads whose handler hangs
        self._count = 1  # messages to read next, if handlers are quick
        self._quick = False  # whether so much is worth reading that threads need not wait for it
        self._each: float | None = None  # seconds that a message takes, a moving average
        self._lead = threading.Lock()
        self._watch = threading.Lock()  # held by the thread that looks for a stall
        self._settled = time.monotonic()
        self._wakes: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._over = False
        self._error: BaseException | None = None
        self._pid = os.getpid()

    def run(self) -> None:
        """Work until `turn` says that it is over, and all that is in flight is handled. Raises what ended a thread."""
        others = [
            threading.Thread(target=self._guarded, args=(number,), name=f"handler {number}", daemon=True)
            for number in range(1, self._threads)
        ]
        for thread in others:
            thread.start()
        _at_work.add(self)
        try:
            self._work(0)
        finally:
            _at_work.discard(self)
            self._end()
            for number, thread in enumerate(others, 1):
                while thread.is_alive() and number not in self._abandoned:
                    thread.join(0.05)
        if self._error is not None:
            raise self._error

    def fail(self, error: BaseException) -> None:
        """Let `run` end with the error that has ended a thread."""
        self._error = self._error or error
        self._wake(self._threads)

    def room(self, *, ahead: bool = False) -> int:
        """Return how many messages may be read now; `ahead`: while as many are still to be handled."""
        if ahead or self._quick:
            return min(self._count, self._settings.batch) if self._quick else 0
        return max(1, min(self._threads - len(self.in_flight()), self._settings.batch))

    def submit(self, messages: Sequence[Message]) -> None:
        """Put messages into the queue. One that is in flight already is left to the handler that has it."""
        if self._threads > 1:
            there = {message.key for message in self.in_flight()}
            if len(self._abandoned) >= self._threads - 1:  # one thread must be left for messages that do not hang
                there |= {message.key for message, _ in self._running.copy().values()}
            messages = [message for message in messages if message.key not in there]
        self.todo.extend(messages)
        work = float("inf") if self._each is None else len(messages) * self._each
        if self._threads > 1 and work > _WORTH:
            self._wake(int(min(self._threads - 1, len(messages), work / _WORTH)))

    def in_flight(self) -> list[Message]:
        """Return what is in flight; nothing while all handlers that run are abandoned, since nothing makes progress."""
        if len(self._abandoned) == self._threads:
            return []
        return [*self.todo.copy(), *(message for message, _ in self.running())]

    def running(self) -> list[tuple[Message, float]]:
        """Return messages whose handlers run and are not abandoned, and since when (monotonic)."""
        return [it for number, it in self._running.copy().items() if number not in self._abandoned]

    def abandon(self, message: Message) -> None:
        """Regard a message whose handler hangs as no longer in flight; others may claim it."""
        self._abandoned |= {number for number, (it, _) in self._running.copy().items() if it is message}

    def _end(self) -> None:
        self._over = True
        self._wake(self._threads)

    def _wake(self, threads: int) -> None:
        for _ in range(threads):
            self._wakes.put(None)

    def _guarded(self, number: int) -> None:
        try:
            self._work(number)
        except BaseException as error:
            self.fail(error)
        if os.getpid() != self._pid:  # a child of this thread, with none of the others: nothing could go on here
            log.critical("%s", self._error)
            os._exit(1)

    def _work(self, number: int) -> None:
        while self._error is None and not (self._over and not self.todo):
            low = self._threads if self._quick else 1
            leads = len(self.todo) < low and not self._over and self._lead.acquire(blocking=False)
            if leads:
                try:
                    if not self._turn():
                        self._end()
                finally:
                    self._lead.release()
            if self.todo:
                self._drain(number)
            elif not leads:
                self._settle_some()
                self._wait()

    def _wait(self) -> None:
        """Wait to be woken. One thread at a time looks on its own whether a handler that was quick so far hangs."""
        watches = self._watch.acquire(blocking=False)
        with contextlib.suppress(queue.Empty):
            self._wakes.get(timeout=_STALL if watches and self._running else 1.0)
        if watches:
            self._watch.release()

    def _drain(self, number: int) -> None:
        """The loop that everything else is there for; a microsecond here is a microsecond a message."""
        monotonic, handler, todo, running = time.monotonic, self._handler, self.todo, self._running
        observe, done = self._settings.observe, self._settlement.done.append
        doubtful = self._settings.claim_after / 2
        count = 0
        now = started = monotonic()
        try:
            while todo:
                try:
                    message = todo.popleft()
                except IndexError:  # another thread took the last one
                    break
                running[number] = message, now
                if now - self._settled > _SETTLE_WITHIN:
                    self._settle_some()
                    now = monotonic()
                if now - message.ours > doubtful and self._is_lost(message):
                    continue
                if observe is not None:
                    observe("started", (message,))
                try:
                    result = handler(message)
                    if result is not None:
                        finish(result)
                except Exception as error:
                    self._settlement.failures.append((message, error))
                    self._settled = 0.0  # soon
                else:
                    if observe is not None:
                        observe("done", (message,))
                    done(message)
                count += 1
                now = monotonic()
                self._abandoned.discard(number)
        finally:
            running.pop(number, None)
        if count:
            self._note((now - started) / count, count)

    def _note(self, each: float, count: int) -> None:
        """Learn from how long messages took how many to read: half of what may be in flight."""
        each = max(each, 1e-7)
        self._each = each if self._each is None else self._each + (each - self._each) * min(1.0, count / 20)
        most = int(self._threads * _AHEAD / 2 / self._each)
        self._quick = most >= self._threads
        self._count = max(1, min(self._settings.batch, 2 * self._count, most))

    def _is_lost(self, message: Message) -> bool:
        """Whether another consumer has claimed a message that waited for long: the heartbeat knows, or Redis."""
        if message.ours != LOST:
            # We stood still, or a handler took long and no heartbeat got through: look before going on.
            try:
                self._renew([message, *self.todo.copy()])
            except RedisError as error:
                if is_final(error):
                    raise
                log.warning("cannot ask whether message %s is still ours (%s): handling it", message.id, error)
        if message.ours == LOST:
            self._settings.tell("disowned", (message,), "before it was started")
        return message.ours == LOST

    def _settle_some(self) -> None:
        """Settle what has ended, unless another thread is about it. Where Redis is away, a later time tries again."""
        self._settled = time.monotonic()
        try:
            self._settlement.flush(wait=False)
        except RedisError as error:
            if is_final(error):
                raise
            log.warning("cannot settle %d message(s) (%s): trying again", len(self._settlement.unconfirmed()), error)
            self._settled = time.monotonic() + _PAUSE


_at_work: weakref.WeakSet[Executor] = weakref.WeakSet()


def _end_in_child() -> None:
    """End the copies of executors in a forked child: they must handle nothing when it returns from the handler."""
    for executor in _at_work:
        executor.todo.clear()
        text = "a handler has forked, and its child has returned from it: end such a child with os._exit"
        executor._error = RuntimeError(text)


os.register_at_fork(after_in_child=_end_in_child)


def checked_handler(handler: Handler) -> Handler:
    """Return `handler` if calling it does the work; raises TypeError where a call would only make a coroutine."""
    if not callable(handler):
        raise TypeError(f"handler is {handler!r}: it must be a function that takes one message")
    function: Any = handler
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", repr(function))
    for each in (function, getattr(function, "__call__", None)):  # noqa: B004 - an object's own __call__ may be async
        if inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each):
            example = f"for example lambda message: asyncio.run({name}(message))"
            raise TypeError(f"handler {name} is async: to call it does nothing. Pass a plain function, {example}")
        if inspect.isgeneratorfunction(each):
            raise TypeError(f"handler {name} is a generator: to call it does nothing. Pass a function without yield")
    return handler


def finish(result: object) -> None:
    """Deal with what a handler returned where it is work that is still to be done.

    A coroutine is run to its end, in an event loop of its own. Raises TypeError for anything else that would have to be
    awaited or iterated: the worker does neither, so the message counts as failed.
    """
    if isinstance(result, types.CoroutineType):
        _warn_of_coroutine()
        asyncio.run(result)
    elif isinstance(result, types.GeneratorType | types.AsyncGeneratorType) or hasattr(result, "__await__"):
        raise TypeError(f"the handler returned a {type(result).__name__}, which does nothing until it is awaited")


@functools.cache
def _warn_of_coroutine() -> None:
    log.warning("the handler returned a coroutine: each is run alone, in an event loop of its own, which is slow")
