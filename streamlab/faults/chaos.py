"""Faults that the seed chooses: whatever leaves the data of Redis intact, in any number and at any time."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import get_args

from streamlab.faults.base import Fault
from streamlab.faults.inside import Checkpoint, Crash, Fail, Slow
from streamlab.faults.redis import FreezeRedis, KillClients, PauseClients
from streamlab.faults.wire import CutReply, Delay, Hold, Reset
from streamlab.faults.worker import Kill, Pause

_Maker = Callable[[random.Random, float], Fault]


def _target(chance: random.Random) -> str:
    return chance.choice(("one", "one", "oldest", "all"))


def _short(chance: random.Random) -> float:
    """Seconds: some are shorter than an idle limit, some longer."""
    return round(chance.uniform(0.05, 1.5), 3)


#: One of each kind that takes no data from Redis.
KINDS: tuple[_Maker, ...] = (
    lambda it, at: Kill(_target(it), at=at, restart_after=_short(it)),
    lambda it, at: Pause(_target(it), at=at, seconds=_short(it)),
    lambda it, at: Slow(_target(it), at=at, by=round(it.uniform(0.01, 0.3), 3), seconds=_short(it)),
    lambda it, at: Fail(_target(it), at=at, times=it.randint(1, 3)),
    lambda it, at: Crash("one", at=at, after=it.choice(get_args(Checkpoint)), restart_after=_short(it)),
    lambda it, at: Delay(_target(it), at=at, delay=0.02, jitter=0.01, seconds=_short(it)),
    lambda it, at: Hold(_target(it), at=at, seconds=_short(it)),
    lambda it, at: Reset(_target(it), at=at),
    lambda it, at: CutReply("one", at=at, command=it.choice(("XACK", "XREADGROUP", "XAUTOCLAIM"))),
    lambda it, at: KillClients(it.choice(("one", "oldest")), at=at),  # not the producer's
    lambda it, at: PauseClients(at=at, seconds=_short(it)),
    lambda it, at: FreezeRedis(at=at, seconds=_short(it)),
)


def chaos(seed: int, count: int, seconds: float) -> list[Fault]:
    """`count` faults within the first `seconds`; the same seed gives the same faults.

    >>> len(chaos(seed=7, count=3, seconds=2.0))
    3
    """
    chance = random.Random(f"chaos {seed}")
    times = sorted(round(chance.uniform(0.1 * seconds, 0.9 * seconds), 3) for _ in range(count))
    return [chance.choice(KINDS)(chance, at) for at in times]
