"""What can be done to a running queue, and when: to a worker, to the wire, to Redis, and by an operator."""

from collections.abc import Mapping
from typing import Any

from streamlab.faults.base import Fault
from streamlab.faults.inside import Crash, Fail, Slow
from streamlab.faults.loss import CutAppendOnlyFile, FlushAll, RestartRedis
from streamlab.faults.operator import Delete, DeleteConsumer, DestroyGroup, SetID, Trim, TwinWorker
from streamlab.faults.redis import FreezeRedis, KillClients, PauseClients, SleepRedis
from streamlab.faults.schedule import FaultSchedule
from streamlab.faults.settings import LimitMemory, SetConfig
from streamlab.faults.wire import CutReply, Delay, Drop, Hold, Refuse, Reset, Throttle
from streamlab.faults.worker import Kill, Pause
from streamlab.schema import build_one_of

__all__ = [
    "KINDS", "Crash", "CutAppendOnlyFile", "CutReply", "Delay", "Delete", "DeleteConsumer", "DestroyGroup", "Drop",
    "Fail", "Fault", "FaultSchedule", "FlushAll", "FreezeRedis", "Hold", "Kill", "KillClients", "LimitMemory", "Pause",
    "PauseClients", "Refuse", "Reset", "RestartRedis", "SetConfig", "SetID", "SleepRedis", "Slow", "Throttle", "Trim",
    "TwinWorker", "from_table",
]  # fmt: skip

#: Every kind of fault, by the name that an experiment's file uses.
KINDS: dict[str, type[Fault]] = {
    it.kind: it for it in list(vars().values()) if isinstance(it, type) and issubclass(it, Fault) and it is not Fault
}


def from_table(table: Mapping[str, Any], where: str = "fault") -> Fault:
    """Make a fault from its data, as in an experiment's file. Raises `UsageError`, which names the key."""
    return build_one_of(KINDS, table, where)
