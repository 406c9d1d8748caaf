"""Faults that somebody presses while a run goes on: done at once, and written down like planned ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from streamlab.errors import UsageError
from streamlab.faults import Fault, Kill, Pause, Plan, Slow
from streamlab.faults import Stage as AnyStage
from streamlab.faults.base import Family
from streamlab.lab.stage import Stage
from streamlab.meters import Mark

FASTEST = 10_000.0  # messages a second


@dataclass(frozen=True)
class Rate(Fault):
    """So many messages a second from now on: nothing is broken, but it has its place in the history.

    Args:
        rate: messages a second; 0: none.
        at: seconds after the first job is due.
    """

    kind: ClassVar[str] = "rate"
    family: ClassVar[Family] = "operator"

    rate: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.rate, bool) or not isinstance(self.rate, (int, float)) or not 0 <= self.rate <= FASTEST:
            raise UsageError(f"rate={self.rate!r}: expected messages a second, 0 to {FASTEST:g}")

    def start(self, stage: AnyStage) -> dict[str, Any]:
        """Tell the producer."""
        assert isinstance(stage, Stage)  # no other has a producer that listens
        stage.arrive(self.rate)
        return {"rate": self.rate} | self._name

    def stop(self, stage: AnyStage) -> dict[str, Any]:
        """It was over at once."""
        return self._name

    def said(self, facts: Mapping[str, Any]) -> str:
        """How many."""
        return f"from now on {self.rate:g} messages a second"

    @property
    def _name(self) -> dict[str, Any]:
        return {"target": f"{self.rate:g}/s"}  # the pictures name a fault by its kind and its target


@dataclass(frozen=True)
class UntilRestarted(Kill):
    """A kill that ends when somebody presses restart, or with the run."""

    def ends_after(self) -> float | None:
        """Nobody knows."""
        return math.inf


def pressed(fault: Fault) -> Fault:
    """What becomes of a fault when it is pressed: a worker that would stay dead can be restarted."""
    if isinstance(fault, Kill) and fault.restart_after is None:
        return UntilRestarted(fault.target, at=fault.at, holding=fault.holding)
    return fault


_WORDS: dict[type[Fault], str] = {Kill: "killed", UntilRestarted: "killed", Pause: "paused", Slow: "slow"}


class Presses(Plan):
    """A plan to which faults are added while it is carried out: the notes of those say that nobody planned them."""

    #: Seconds since the first job was due.
    clock: Callable[[], float]

    def __init__(self, *planned: Any) -> None:
        #: What was done so far, by the fault's number.
        self.marks: dict[int, Mark] = {}
        super().__init__(*planned)
        self._planned = self._count

    def restart(self, worker: str) -> None:
        """End the kills of a worker. It does nothing for one that was not killed by a press."""
        self._end([it for it in self._running if isinstance(it[1], UntilRestarted) and it[1].target == worker])

    def states(self) -> dict[str, str]:
        """What goes on with whom, in a word; 'redis' for the server."""
        states = {getattr(it, "target", ""): _WORDS[type(it)] for it in self.running if type(it) in _WORDS}
        return states | ({"redis": "stands still"} if self.still else {})

    def _write(self, kind: str, fault: Fault, facts: dict[str, Any], time_ns: int | None = None) -> None:
        if kind == "fault_on":
            self.marks[fault.index] = Mark(f"{fault.kind} {facts['target']}".strip(), fault.family, self.clock())
        else:
            self.marks[fault.index].end = self.clock() if fault.ends_after() else self.marks[fault.index].start
        unplanned = {"planned": False} if fault.index >= self._planned else {}
        super()._write(kind, fault, facts | unplanned, time_ns)
