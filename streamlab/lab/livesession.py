"""A live run while it lasts: one whose arrivals go on until somebody ends them."""

from __future__ import annotations

import dataclasses
import threading
import time
from typing import Any, ClassVar

from streamlab.errors import StreamlabError
from streamlab.faults import Plan
from streamlab.lab.arrivals import Arrivals
from streamlab.lab.presses import Presses
from streamlab.lab.session import Session

_PATIENCE = 10.0  # seconds that the producer has for what it is adding


class BrokenOffError(StreamlabError):
    """The run was ended without waiting for its end."""


class LiveSession(Session):
    """One live run while it lasts.

    Args:
        broken_off: set when it is to end at once.
        what, more: the arguments of `Session`.
    """

    plan_type: ClassVar[type[Plan]] = Presses

    def __init__(self, broken_off: threading.Event, *what: Any, **more: Any) -> None:
        super().__init__(*what, **more)
        self.presses.clock = self.now
        self._broken_off = broken_off

    @property
    def presses(self) -> Presses:
        """Its plan."""
        assert isinstance(self.plan, Presses)
        return self.plan

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
        self.presses.restart(worker)
        if not self.stage.alive(worker):  # it ended by itself
            self.stage.spawn(worker)

    def settle(self, offered: int) -> None:
        """Now it is known how many jobs there were to be."""
        workload = dataclasses.replace(self.experiment.workload, count=max(1, offered))
        self.experiment = dataclasses.replace(self.experiment, workload=workload)
        self.write_experiment()

    def end_arrivals(self) -> None:
        """Faults stop first, so that the producer, too, comes to its end."""
        self.plan.heal()
        self._orphans.clear()
        self.stage.arrive(None)
        deadline = time.monotonic() + _PATIENCE
        while self.producing and time.monotonic() < deadline:
            self.step()
