"""What can be done to a running queue, and when: to a worker, to the wire, to Redis, and by an operator."""

from streamlab.faults.base import Fault, Stage
from streamlab.faults.inside import Crash, Fail, Slow
from streamlab.faults.loss import CutAppendOnlyFile, FlushAll, RestartRedis
from streamlab.faults.operator import Delete, DeleteConsumer, DestroyGroup, SetID, Trim, TwinWorker
from streamlab.faults.plan import Plan
from streamlab.faults.redis import FreezeRedis, KillClients, PauseClients, SleepRedis
from streamlab.faults.settings import LimitMemory, SetConfig
from streamlab.faults.wire import CutReply, Delay, Drop, Hold, Refuse, Reset, Throttle
from streamlab.faults.worker import Kill, Pause

_ALL: tuple[type[Fault], ...] = (
    *(Kill, Pause, Slow, Fail, Crash),
    *(Delay, Throttle, Hold, Drop, Reset, Refuse, CutReply),
    *(KillClients, PauseClients, SleepRedis, FreezeRedis, RestartRedis, FlushAll, CutAppendOnlyFile),
    *(LimitMemory, SetConfig),
    *(Trim, Delete, SetID, DestroyGroup, DeleteConsumer, TwinWorker),
)

#: Every kind of fault, by the name that an experiment's file uses.
KINDS: dict[str, type[Fault]] = {kind.kind: kind for kind in _ALL}

__all__ = [
    "KINDS",
    "Crash",
    "CutAppendOnlyFile",
    "CutReply",
    "Delay",
    "Delete",
    "DeleteConsumer",
    "DestroyGroup",
    "Drop",
    "Fail",
    "Fault",
    "FlushAll",
    "FreezeRedis",
    "Hold",
    "Kill",
    "KillClients",
    "LimitMemory",
    "Pause",
    "PauseClients",
    "Plan",
    "Refuse",
    "Reset",
    "RestartRedis",
    "SetConfig",
    "SetID",
    "SleepRedis",
    "Slow",
    "Stage",
    "Throttle",
    "Trim",
    "TwinWorker",
]
