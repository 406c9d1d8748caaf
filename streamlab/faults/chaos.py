"""Faults that the seed chooses: whatever leaves the data of Redis intact, in any number and at any time."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from typing import get_args

from streamlab.faults.base import Fault
from streamlab.faults.inside import Checkpoint, Crash, Fail, Slow
from streamlab.faults.operator import TwinWorker
from streamlab.faults.proxy.toxics import DirectionName
from streamlab.faults.redis import FreezeRedis, KillClients, PauseClients
from streamlab.faults.wire import CutReply, Delay, Drop, Hold, Refuse, Reset, Throttle
from streamlab.faults.worker import Kill, Pause

_Maker = Callable[[random.Random, float], Fault]


def _target(chance: random.Random) -> str:
    return chance.choice(("one", "one", "oldest", "all"))


def _direction(chance: random.Random) -> DirectionName:
    return chance.choice(get_args(DirectionName))


def _short(chance: random.Random) -> float:
    """Seconds: some are shorter than an idle limit, some longer."""
    return round(chance.uniform(0.05, 1.5), 3)


#: One of each kind that takes no data from Redis, and that every Redis of the lab's own can suffer.
KINDS: tuple[_Maker, ...] = (
    lambda it, at: Kill(_target(it), at=at, restart_after=_short(it)),
    lambda it, at: Pause(_target(it), at=at, seconds=_short(it)),
    lambda it, at: Slow(_target(it), at=at, by=round(it.uniform(0.01, 0.3), 3), seconds=_short(it)),
    lambda it, at: Fail(_target(it), at=at, times=it.randint(1, 3)),
    lambda it, at: Crash(_target(it), at=at, after=it.choice(get_args(Checkpoint)), restart_after=_short(it)),
    lambda it, at: Delay(_target(it), at=at, delay=0.02, jitter=0.01, seconds=_short(it)),
    lambda it, at: Throttle(_target(it), at=at, bytes_per_second=it.choice((2e3, 2e4)), seconds=_short(it)),
    lambda it, at: Hold(_target(it), at=at, seconds=_short(it), direction=_direction(it)),
    lambda it, at: Drop(_target(it), at=at, seconds=_short(it), direction=_direction(it)),
    lambda it, at: Reset(_target(it), at=at),
    lambda it, at: Refuse(_target(it), at=at, seconds=_short(it)),
    lambda it, at: CutReply("one", at=at, command=it.choice(("XACK", "XREADGROUP"))),
    lambda it, at: CutReply("producer", at=at, command="XADD"),
    lambda it, at: KillClients(it.choice(("one", "oldest")), at=at),  # not the producer's
    lambda it, at: PauseClients(at=at, seconds=_short(it), mode=it.choice(("WRITE", "ALL"))),
    lambda it, at: FreezeRedis(at=at, seconds=_short(it)),
    lambda it, at: TwinWorker(it.choice(("one", "oldest")), at=at, seconds=1.0 + _short(it)),
)


def _known(fault: Fault) -> Fault:
    """The same for a custom worker, which tells nobody when it has read or acked: it dies a step away."""
    after = {"read": "started", "acked": "done"}.get(getattr(fault, "after", ""))
    return dataclasses.replace(fault, after=after) if after else fault  # type: ignore[call-arg]


def chaos(seed: int, count: int, seconds: float, *, custom: bool = False) -> list[Fault]:
    """`count` faults within the first `seconds`; the same seed gives the same faults. `custom`: for any worker.

    >>> len(chaos(seed=7, count=3, seconds=2.0))
    3
    """
    chance = random.Random(f"chaos {seed}")
    times = sorted(round(chance.uniform(0.1 * seconds, 0.9 * seconds), 3) for _ in range(count))
    faults = [chance.choice(KINDS)(chance, at) for at in times]
    return [_known(fault) for fault in faults] if custom else faults
