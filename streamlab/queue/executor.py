"""What runs handlers on messages in flight: the interface, and what both kinds of executor share."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import types
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from streamlab.queue.message import Handler, Message

log = logging.getLogger(__name__)

AHEAD = 0.02  # seconds of work that may be in flight: what a slow worker has read, no other can do


class Executor(Protocol):
    """Runs handlers, and settles what becomes of their messages.

    A message is in flight from `submit` until it is settled. `heartbeat` asks from another thread.
    """

    def room(self) -> int:
        """Return how many messages may be read now. It waits a moment for the first; 0 if there is no room."""

    def room_ahead(self) -> int:
        """Return how many may be read while what was read last is still to be worked through; usually 0."""

    def submit(self, messages: list[Message], asked: float) -> None:
        """Take messages that Redis was asked for at the monotonic time `asked`."""

    def in_flight(self) -> Sequence[tuple[Message, float]]:
        """Return the messages in flight, each with the monotonic time at which it was known to be ours.

        Empty while every handler that runs has been abandoned: then nothing here makes progress.
        """

    def running(self) -> Sequence[tuple[Message, float]]:
        """Return the messages whose handlers run and are not abandoned, each with the monotonic time of its start."""

    def abandon(self, message: Message) -> None:
        """Regard a message whose handler hangs as no longer in flight; others may claim it."""

    def confirm(self, when: float, lost: set[bytes]) -> None:
        """Take note that at the monotonic time `when` all in flight were still ours, except for the IDs in `lost`."""

    def close(self) -> None:
        """Finish what is in flight, as far as handlers that are not abandoned do it, and settle it."""


def checked_handler(handler: Handler) -> Handler:
    """Return `handler` if calling it does the work; raises TypeError where a call would only make a coroutine."""
    if not callable(handler):
        raise TypeError(f"handler is {handler!r}: it must be a function that takes one message")
    function: Any = handler
    while isinstance(function, functools.partial):
        function = function.func
    for each in (function, getattr(function, "__call__", None)):  # noqa: B004 - an object's own __call__ may be async
        kind = next((kind for asks, kind in _NOT_PLAIN if asks(each)), None)
        if kind is not None:
            name = getattr(function, "__qualname__", repr(function))
            raise TypeError(
                f"handler {name} is {kind}: to call it does nothing. Pass a plain function"
                + (f", for example lambda message: asyncio.run({name}(message))" if "async def" in kind else "")
            )
    return handler


_NOT_PLAIN: tuple[tuple[Callable[[Any], bool], str], ...] = (
    (inspect.iscoroutinefunction, "an async def function"),
    (inspect.isasyncgenfunction, "an async generator function"),
    (inspect.isgeneratorfunction, "a generator function"),
)


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


