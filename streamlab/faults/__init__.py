"""What can be done to a running queue, and when."""

from streamlab.faults.base import Fault, Stage
from streamlab.faults.kill import Kill
from streamlab.faults.plan import Plan

#: Every kind of fault, by the name that an experiment's file uses.
KINDS: dict[str, type[Fault]] = {kind.kind: kind for kind in (Kill,)}

__all__ = ["KINDS", "Fault", "Kill", "Plan", "Stage"]
