"""What may be wrong with a wire for a while, and how much it met: what the wire's faults ask of the proxy."""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

#: Seen from the process: what it asks of Redis, and what Redis answers.
Direction = Literal["both", "requests", "replies"]


@dataclass(eq=False, kw_only=True)
class Trouble:
    """The base of all troubles.

    Attributes:
        processes: whose connections it concerns; none: everybody's.
        direction: which way the bytes go that it concerns.
        hit: how many bytes it met so far.
    """

    processes: Collection[str] = ()
    direction: Direction = "both"
    hit: int = field(default=0, init=False)

    def concerns(self, process: str) -> bool:
        """Whether it is about this process."""
        return not self.processes or process in self.processes


@dataclass(eq=False, kw_only=True)
class Late(Trouble):
    """Bytes arrive `by` seconds late, give or take up to `jitter`, and in order."""

    by: float
    jitter: float = 0.0
    seed: object = 1

    def __post_init__(self) -> None:
        self._chance = random.Random(f"late {self.seed}")

    def seconds(self) -> float:
        """How late the next bytes are."""
        return max(0.0, self.by + self._chance.uniform(-self.jitter, self.jitter))


@dataclass(eq=False, kw_only=True)
class Narrow(Trouble):
    """Each direction of each connection lets `rate` bytes a second through."""

    rate: float


class Held(Trouble):
    """Bytes wait, and arrive when it is over. So does the news that a connection was closed."""


class Lost(Trouble):
    """Bytes vanish, and nobody is told. When it is over, the connections that lost some are reset: they are torn."""


class Refused(Trouble):
    """A new connection is reset at once. `hit` counts connections."""


@dataclass(eq=False, kw_only=True)
class Cut(Trouble):
    """Redis answers, and nobody hears of it: the reply is withheld, and the connection closed. `hit` counts replies.

    Attributes:
        command: whose reply.
        nth: the first such command that is cut, counted from now over all the processes concerned.
        times: how many in a row are cut.
    """

    command: str
    nth: int = 1
    times: int = 1
    met: int = field(default=0, init=False)

    def dooms(self, command: bytes) -> bool:
        """Whether the reply to this command, which is on its way to Redis, is to be cut."""
        if command != self.command.upper().encode():
            return False
        self.met += 1
        return self.nth <= self.met < self.nth + self.times
