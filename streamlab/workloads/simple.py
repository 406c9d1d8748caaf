"""Jobs that need no files to work on: waiting, counting, and calling a function written in a notebook's cell."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from uuid import uuid4

from streamlab.schema import Seconds
from streamlab.workloads.base import Workload

if TYPE_CHECKING:
    from streamlab.queue.message import Handler, Message

_EFFECTS = "effects"


@dataclass(frozen=True, kw_only=True)
class Sleep(Workload):
    """Every job waits: the simplest stand-in for a call to somebody else's service.

        Sleep(count=200, rate=100, seconds=0.02)

    Attributes:
        seconds: how long each job takes; 0 for a job that does nothing.
    """

    name: ClassVar[str] = "sleep"

    seconds: Seconds = 0.05

    def handler(self, folder: Path) -> Handler:
        """Return a handler that waits."""
        return lambda message: time.sleep(self.seconds)


@dataclass(frozen=True, kw_only=True)
class Count(Workload):
    """Every job has an effect that is counted, so that it is known whether it happened once, twice, or not at all.

        Count(count=200, rate=100)                      # each delivery counts again, as a payment would
        Count(count=200, rate=100, once=True)           # the effect has the job's name: to do it again changes nothing

    Attributes:
        seconds: how long each job takes before its effect is there.
        once: whether a second time has no effect of its own.
    """

    name: ClassVar[str] = "count"

    seconds: Seconds = 0.01
    once: bool = False

    @property
    def idempotent(self) -> bool:
        """Whether a second time has no effect of its own."""
        return self.once

    def prepare(self, folder: Path) -> None:
        """Make the folder in which each effect is a file."""
        (folder / _EFFECTS).mkdir()

    def handler(self, folder: Path) -> Handler:
        """Return a handler that makes a file: in one step it is there, whatever becomes of the process then."""

        def count(message: Message) -> None:
            time.sleep(self.seconds)
            job = int(message.fields["job"])
            (folder / _EFFECTS / (f"{job}" if self.once else f"{job}-{uuid4().hex}")).touch()

        return count

    def effects(self, folder: Path) -> dict[int, int] | None:
        """How often each job's effect exists."""
        return dict(Counter(int(path.name.partition("-")[0]) for path in (folder / _EFFECTS).iterdir()))


@dataclass(frozen=True)
class Call(Workload):
    """Every job calls a plain function with its message; what it raises, the queue gets to see.

        def greet(message):
            print("hello from job", message.fields["job"])

        Call(greet, count=20, rate=10)

    The function may stand in a cell: cloudpickle carries it to the worker processes, with the globals it uses. It
    cannot be saved to a file: `to_table` raises `UsageError`.

    Attributes:
        function: called with each message, in a worker's process. Its result is not looked at.

    Raises TypeError for what is no function, and for an `async def` or a generator: to call one does nothing.
    """

    name: ClassVar[str] = "call"

    # Callables read better when they come first, and count and rate stay keywords.
    function: Callable[..., object] = field(kw_only=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        from streamlab.queue.executor import checked_handler

        checked_handler(self.function)

    def handler(self, folder: Path) -> Handler:
        """Return a handler that calls the function."""
        from streamlab.queue.executor import finish

        return lambda message: finish(self.function(message))
