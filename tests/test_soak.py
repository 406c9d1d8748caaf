"""The project's own worker under faults that leave the data of Redis intact: nothing is lost, whatever the seed.

Some 240 seeds, several runs at a time: they mostly wait. `pytest -m soak` runs them.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest

import streamlab as sl
from streamlab.faults import KINDS, Crash, DestroyGroup, LimitMemory, RestartRedis, SetConfig, SetID, SleepRedis
from streamlab.faults.chaos import chaos
from tests.at_hand import SERVERS

_AT_ONCE = 4


def experiment(seed, **more):
    settings = {
        "workload": sl.Sleep(count=90, rate=60.0, seconds=0.01),
        "chaos": 1 + seed % 4,
        "claim_after": 0.4,
        "retry_delay": 0.1,
        "max_deliveries": 20,  # a fault that fails messages is no poison
        "threads": 1 + seed % 3,
        "workers": 2 + seed % 3,
        "drain": 30.0,
        "seed": seed,
    }
    return sl.Experiment(**(settings | more))


def test_whatever_leaves_the_data_intact_is_tried():
    tried = {fault.kind for seed in range(300) for fault in chaos(seed, 5, 2.0)} | {make(0.0).kind for make in _RARE}
    assert set(KINDS) - tried == {"flushall", "aof-cut", "trim", "delete", "delete-consumer"}


def test_chaos_can_be_done_to_any_worker():
    """Somebody else's tells nobody what it has read or acked, and a crash there is refused; the rest is the same."""
    for seed in range(100):
        ours = experiment(seed, chaos=5).all_faults()
        theirs = experiment(seed, chaos=5, worker="loops:mine").all_faults()
        assert [(fault.kind, fault.at) for fault in ours] == [(fault.kind, fault.at) for fault in theirs]
        assert all(fault.after in {"started", "done"} for fault in theirs if isinstance(fault, Crash))


#: What leaves the data intact, and is not chaos: it empties the group, refuses jobs, or not every Redis can suffer it.
_RARE = (
    lambda at: DestroyGroup(at=at),
    lambda at: SetID(at=at, to="0"),
    lambda at: SleepRedis(at=at, seconds=0.6),
    lambda at: LimitMemory(at=at, seconds=0.4),
    lambda at: SetConfig("stream-node-max-entries", "5", at=at, seconds=0.4),
    lambda at: RestartRedis(at=at, how="TERM", seconds=0.2),
)


def rare(seed):
    faults = [_RARE[seed % 6](0.3), _RARE[(seed // 6 + seed) % 6](0.9)]
    return experiment(seed, chaos=1, faults=faults, persistence="rdb")


def restarted(seed):
    """By a Redis that keeps what it was told."""
    fault = RestartRedis(at=0.4 + seed % 7 / 10, how="KILL" if seed % 2 else "TERM", seconds=0.1 + seed % 5 / 10)
    return experiment(seed, chaos=0, faults=[fault], persistence="aof-always")


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("at_hand", "make", "first", "count"),
    [
        *((SERVERS[0], experiment, first, 20) for first in range(1, 161, 20)),
        (SERVERS[0], restarted, 201, 20),
        *((at_hand, experiment, 301, 6) for at_hand in SERVERS),
        (SERVERS[0], rare, 401, 24),
    ],
)
def test_nothing_is_lost(at_hand, make, first, count, tmp_path):
    """Each on a server of its own: what one run does to Redis would be no fault of another's schedule."""

    def run(seed):
        one = make(seed)
        with at_hand.opened(one.persistence or "none") as server:
            return sl.Lab(server).run(one, out=tmp_path / f"seed-{seed}").verdict

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(run, range(first, first + count)))
    # Chance lets faults miss; a restart may leave an XADD without its answer.
    allowed = ("hit nothing", "came after the work", "before the work", "without an answer to their producer")
    for seed, verdict in enumerate(found, first):
        doubts = [reason for reason in verdict.reasons if not any(each in reason for each in allowed)]
        assert verdict.verdict == "valid" or (verdict.verdict == "unknown" and not doubts), (seed, str(verdict), doubts)
    assert make is restarted or sum(verdict.verdict == "valid" for verdict in found) > count / 2
