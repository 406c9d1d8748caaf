"""A change of rate, done like a fault."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

from msgspec import Meta

from streamlab.faults import Fault
from streamlab.faults.base import Family, RunContext
from streamlab.history.fault_record import FaultRecord


@dataclass(frozen=True)
class Rate(Fault):
    """Add this many messages a second from now on. Nothing is broken, but the history shows the change.

    Args:
        rate: messages a second; 0: none.
        at: seconds after the first job is due.
    """

    kind: ClassVar[str] = "rate"
    family: ClassVar[Family] = "operator"

    rate: Annotated[float, Meta(ge=0, le=10_000, description="messages a second, 0 to 10000")]

    def strike(self, context: RunContext, record: FaultRecord) -> Iterator[None]:
        record.target = f"{self.rate:g}/s"  # where other faults name their target
        record.said = f"from now on {self.rate:g} messages a second"
        context.arrive(self.rate)
        yield
