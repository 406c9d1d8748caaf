"""The toxics: what can be wrong with connections for a while, and how much of it each has met.

The word and the first two are Toxiproxy's. Refusing connections and cutting one reply are not among its toxics.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

#: Seen from the process: requests go upstream, replies come downstream.
DirectionName = Literal["both", "requests", "replies"]


@dataclass(eq=False, kw_only=True)
class Toxic:
    """The base of all toxics.

    Attributes:
        processes: whose connections it acts on; empty: everybody's.
        direction: which bytes it acts on.
        hit: how many bytes it has met.
    """

    processes: Collection[str] = ()
    direction: DirectionName = "both"
    hit: int = field(default=0, init=False)


@dataclass(eq=False, kw_only=True)
class Latency(Toxic):
    """Bytes arrive `delay` seconds later, plus or minus up to `jitter`, the same at each run, and in order."""

    delay: float
    jitter: float = 0.0

    def __post_init__(self) -> None:
        self._random = random.Random("latency")

    def seconds(self) -> float:
        """Draw how much later the next bytes arrive."""
        return self.delay + self._random.uniform(-self.jitter, self.jitter)


@dataclass(eq=False, kw_only=True)
class Bandwidth(Toxic):
    """Each direction of each connection passes so many bytes a second."""

    bytes_per_second: float


class Hold(Toxic):
    """Bytes wait, and so does the news that a connection was closed. All of it arrives when the toxic is removed."""


class Drop(Toxic):
    """Bytes vanish, and nobody is told. When it is removed, connections that lost bytes are reset."""


class Refuse(Toxic):
    """A new connection is reset at once. `hit` counts connections."""


@dataclass(eq=False, kw_only=True)
class CutReply(Toxic):
    """Redis answers, the reply is withheld, and the connection is closed. `hit` counts replies.

    `resp.Session.reply` withholds it, and `connection.Connection.received` closes the connection.

    Attributes:
        command: whose reply.
        nth: the first such command that is cut, counted over all connections it acts on; not counted is what is sent
            behind a command whose reply will be cut: the connection ends before it is answered.
        times: how many in a row are cut.
        met: how many such commands have been sent.
    """

    command: str
    nth: int = 1
    times: int = 1
    met: int = field(default=0, init=False)

    def cuts(self, command: bytes) -> bool:
        """Count a command on its way to Redis; whether its reply is to be cut."""
        if command != self.command.upper().encode():
            return False
        self.met += 1
        return self.nth <= self.met < self.nth + self.times
