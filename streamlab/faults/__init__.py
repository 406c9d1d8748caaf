"""What can be done to a running queue, and when."""

from streamlab.faults.base import Fault, Stage
from streamlab.faults.inside import Crash, Fail, Slow
from streamlab.faults.plan import Plan
from streamlab.faults.worker import Kill, Pause

#: Every kind of fault, by the name that an experiment's file uses.
KINDS: dict[str, type[Fault]] = {kind.kind: kind for kind in (Kill, Pause, Slow, Fail, Crash)}

__all__ = ["KINDS", "Crash", "Fail", "Fault", "Kill", "Pause", "Plan", "Slow", "Stage"]
