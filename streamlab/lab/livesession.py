"""A live run while it lasts: one whose arrivals go on until somebody ends them."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from streamlab.errors import StreamlabError
from streamlab.faults import Fault
from streamlab.faults.base import Family
from streamlab.history.fault_record import FaultRecord
from streamlab.lab.arrivals import Arrivals
from streamlab.lab.context import RunContext
from streamlab.lab.session import Session

_PATIENCE = 10.0  # seconds that the producer has for what it is adding


class BrokenOffError(StreamlabError):
    """The run was ended without waiting for its end."""


@dataclass(frozen=True)
class Rate(Fault):
    """Another rate of messages from now on: nothing is broken, but it has its place in the history.

    Args:
        rate: messages a second; 0: none.
        at: seconds after the first job is due.
    """

    kind: ClassVar[str] = "rate"
    family: ClassVar[Family] = "operator"

    rate: Annotated[float, Meta(ge=0, le=10_000, description="messages a second, 0 to 10000")]

    def strike(self, context: RunContext, record: FaultRecord) -> Iterator[None]:
        record.target = f"{self.rate:g}/s"  # the pictures name a fault by its kind and its target
        record.said = f"from now on {self.rate:g} messages a second"
        context.arrive(self.rate)
        yield


class LiveSession(Session):
    """One live run while it lasts.

    Args:
        broken_off: set when it is to end at once.
        what, more: the arguments of `Session`.
    """

    def __init__(self, broken_off: threading.Event, *what: Any, **more: Any) -> None:
        super().__init__(*what, **more)
        self._broken_off = broken_off

    def states(self) -> dict[str, str]:
        """What goes on with each worker, in a word, and with 'redis'."""
        alive = {name: "running" if self.context.alive(name) else "ended" for name in self.context.workers()}
        return alive | {"redis": "running"} | self.schedule.states

    def arrivals(self) -> Arrivals:
        """They go on coming."""
        it = self.experiment
        return Arrivals(None, it.workload.rate, it.workload.count, it.seed)

    def now(self) -> float:
        """Seconds since the first job was due."""
        return (time.monotonic_ns() - self.start_ns) / 1e9

    def step(self) -> None:
        """What is due now. Raises BrokenOffError where nobody waits any more."""
        if self._broken_off.is_set():
            raise BrokenOffError("nobody waited for its end")
        super().step()

    def restart(self, worker: str) -> None:
        """Start the next process of a worker that is dead."""
        self._orphans.pop(worker, None)  # it may take up itself what it held
        self.schedule.end_kill(worker)
        if not self.context.alive(worker):  # it ended by itself
            self.context.spawn(worker)

    def settle(self, offered: int) -> None:
        """Now it is known how many jobs there were to be."""
        workload = dataclasses.replace(self.experiment.workload, count=max(1, offered))
        self.experiment = dataclasses.replace(self.experiment, workload=workload)
        self.write_experiment()

    def end_arrivals(self) -> None:
        """Faults stop first, so that the producer, too, comes to its end."""
        self.schedule.heal()
        self._orphans.clear()
        self.context.arrive(None)
        deadline = time.monotonic() + _PATIENCE
        while self.producing and time.monotonic() < deadline:
            self.step()
