"""What runs handlers on messages in flight: the interface of both executors, and what may be a handler."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import types
from collections.abc import Sequence
from typing import Any, Protocol

from streamlab.queue.message import Handler, Message

log = logging.getLogger(__name__)

AHEAD = 0.02  # seconds of work that may be in flight: what a slow worker has read, no other can do

#: Messages, each with a monotonic time.
Timed = Sequence[tuple[Message, float]]


class Executor(Protocol):
    """Runs handlers and settles their messages; a message is in flight from `submit` until it is settled.

    The heartbeat's thread calls `in_flight`, `running`, `abandon` and `confirm`.
    """

    def room(self) -> int:
        """Return how many messages may be read now; if none, it waits a moment and returns 0."""

    def room_ahead(self) -> int:
        """Return how many may be read while what was read last is still to be worked through; usually 0."""

    def submit(self, messages: list[Message], asked: float) -> None:
        """Take messages that Redis was asked for at the monotonic time `asked`."""

    def in_flight(self) -> Timed:
        """Return messages in flight, and when they were known to be ours. Empty while every handler is abandoned."""

    def running(self) -> Timed:
        """Return messages whose handlers run and are not abandoned, and since when."""

    def abandon(self, message: Message) -> None:
        """Regard a message whose handler hangs as no longer in flight; others may claim it."""

    def confirm(self, when: float, lost: set[bytes]) -> None:
        """Take note that all in flight were still ours at the monotonic time `when`, except for the IDs in `lost`."""

    def close(self) -> None:
        """Finish and settle what is in flight, except for what is abandoned."""


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
    awaited or iterated: nobody will, so the message counts as failed.
    """
    if isinstance(result, types.CoroutineType):
        _warn_of_coroutine()
        asyncio.run(result)
    elif isinstance(result, types.GeneratorType | types.AsyncGeneratorType) or hasattr(result, "__await__"):
        raise TypeError(f"the handler returned a {type(result).__name__}, which does nothing until it is awaited")


@functools.cache
def _warn_of_coroutine() -> None:
    log.warning("the handler returned a coroutine: each is run alone, in an event loop of its own, which is slow")
