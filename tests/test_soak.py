"""The project's own worker under faults that leave the data of Redis intact: nothing is lost, whatever the seed.

200 seeds, several runs at a time: they mostly wait. `pytest -m soak` runs them.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest

import streamlab as sl
from streamlab.faults import KINDS, Crash, DestroyGroup, LimitMemory, RestartRedis, SetConfig, SetID, SleepRedis
from streamlab.faults.chaos import chaos
from tests.at_hand import SERVERS

_AT_ONCE = 4
_SEEDS = 20


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
    tried = {fault.kind for seed in range(300) for fault in chaos(seed, 5, 2.0)} | {rare(0.0).kind for rare in _RARE}
    assert set(KINDS) - tried == {"flushall", "aof-cut", "trim", "delete", "delete-consumer"}


def test_chaos_can_be_done_to_any_worker():
    """Somebody else's tells nobody what it has read or acked, and a crash there is refused; the rest is the same."""
    for seed in range(100):
        ours, theirs = (
            experiment(seed, chaos=5).all_faults(),
            experiment(seed, chaos=5, worker="loops:mine").all_faults(),
        )
        assert [(fault.kind, fault.at) for fault in ours] == [(fault.kind, fault.at) for fault in theirs]
        assert all(fault.after in {"started", "done"} for fault in theirs if isinstance(fault, Crash))


def verdicts(at_hand, tmp_path, experiments):
    """Each on a server of its own: what one run does to Redis would be no fault of another's plan."""

    def run(one):
        with at_hand.opened(one.persistence or "none") as server:
            return one.seed, sl.Lab(server).run(one, out=tmp_path / f"seed-{one.seed}").verdict

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(pool.map(run, experiments))


def failing(found, allowed=("hit nothing", "came after the work", "before the work")):
    """Runs that are not valid, but for faults that chance let miss."""
    return {
        seed: (str(verdict), verdict.reasons)
        for seed, verdict in found.items()
        if verdict.verdict == "invalid"
        or (verdict.verdict == "unknown" and not all(any(a in r for a in allowed) for r in verdict.reasons))
    }


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(1, 161, _SEEDS))
def test_nothing_is_lost_by_chaos(first, tmp_path):
    found = verdicts(SERVERS[0], tmp_path, [experiment(seed) for seed in range(first, first + _SEEDS)])
    assert failing(found) == {}
    assert sum(verdict.verdict == "valid" for verdict in found.values()) > _SEEDS / 2, "most faults hit something"


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_nothing_is_lost_by_restarts_of_a_redis_that_keeps_what_it_was_told(tmp_path):
    """An XADD without its answer may leave an unknown: nothing may be lost."""

    def restarted(seed):
        how = "KILL" if seed % 2 else "TERM"
        fault = RestartRedis(at=0.4 + seed % 7 / 10, how=how, seconds=0.1 + seed % 5 / 10)
        return experiment(seed, chaos=0, faults=[fault], persistence="aof-always")

    found = verdicts(SERVERS[0], tmp_path, map(restarted, range(201, 221)))
    assert failing(found, allowed=("without an answer to their producer",)) == {}


#: What leaves the data intact, and is not chaos: it empties the group, refuses jobs, or not every Redis can suffer it.
_RARE = (
    lambda at: DestroyGroup(at=at),
    lambda at: SetID(at=at, to="0"),
    lambda at: SleepRedis(at=at, seconds=0.6),
    lambda at: LimitMemory(at=at, seconds=0.4),
    lambda at: SetConfig("stream-node-max-entries", "5", at=at, seconds=0.4),
    lambda at: RestartRedis(at=at, how="TERM", seconds=0.2),
)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_nothing_is_lost_by_what_is_rare(tmp_path):
    def rare(seed):
        faults = [_RARE[seed % 6](0.3), _RARE[(seed // 6 + seed) % 6](0.9)]
        return experiment(seed, chaos=1, faults=faults, persistence="rdb")

    found = verdicts(SERVERS[0], tmp_path, map(rare, range(401, 425)))
    assert failing(found, allowed=("hit nothing", "came after the work", "without an answer to their producer")) == {}
    assert sum(verdict.verdict == "valid" for verdict in found.values()) > len(found) / 2


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("at_hand", SERVERS, ids=lambda at_hand: at_hand.id)
def test_nothing_is_lost_on_any_server(at_hand, tmp_path):
    found = verdicts(at_hand, tmp_path, map(experiment, range(301, 307)))
    assert failing(found) == {}
