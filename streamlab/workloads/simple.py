"""Jobs that need nothing on disk: waiting, and calling a function written in a notebook's cell."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from streamlab.errors import UsageError
from streamlab.workloads.base import Handler, Message, Workload, require_number


@dataclass(frozen=True, kw_only=True)
class Sleep(Workload):
    """Every job waits: the simplest stand-in for a call to somebody else's service.

        Sleep(count=200, rate=100, seconds=0.02)

    Attributes:
        seconds: how long each job takes; 0 for a job that does nothing.
    """

    name: ClassVar[str] = "sleep"

    seconds: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        require_number("seconds", self.seconds)

    def fields(self, job: int) -> dict[str, str]:
        """Return the number of the job, which is all there is to say."""
        return {"job": str(job)}

    def handler(self, folder: Path) -> Handler:
        """Return a handler that waits."""

        def wait(message: Message) -> None:
            time.sleep(self.seconds)

        return wait


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
    """

    name: ClassVar[str] = "call"

    # Callables read better when they come first, and count and rate stay keywords.
    function: Callable[[Message], object] = field(kw_only=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.function):
            raise UsageError(f"function is {self.function!r}, but must be a function that takes one message")

    def fields(self, job: int) -> dict[str, str]:
        """Return the number of the job, for the function to work with."""
        return {"job": str(job)}

    def handler(self, folder: Path) -> Handler:
        """Return a handler that calls the function."""

        def call(message: Message) -> None:
            self.function(message)

        return call
