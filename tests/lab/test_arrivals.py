"""When jobs are due while somebody changes the rate."""

import threading
import time

import numpy as np
import pytest

from streamlab.lab.arrivals import Open, Planned
from tests.waiting import wait_until

SECOND = 1_000_000_000


def everything(clock):
    jobs = []
    while found := clock.wait(len(jobs)):
        jobs += found
    return jobs


def test_a_schedule_ends_where_it_ends():
    clock = Planned([0.0, 0.01, 0.02]).begin(time.monotonic_ns())
    assert everything(clock) == [0, 1, 2]
    assert clock.wait(3) == range(0)


@pytest.mark.parametrize("rate", [50.0, 1000.0])
def test_arrivals_are_independent_and_come_at_their_rate(rate):
    """Of 10 s that have passed: as many as the rate says, give or take; gaps that spread as exponential ones do."""
    clock = Open(rate, 10**6, seed=1).begin(time.monotonic_ns() - 10 * SECOND)
    clock.obey(None)
    jobs = everything(clock)
    assert jobs == list(range(len(clock.due_ns)))
    assert len(jobs) == pytest.approx(10 * rate, abs=5 * (10 * rate) ** 0.5)
    gaps = np.diff(clock.due_ns) / 1e9
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.15)


def test_the_same_seed_gives_the_same_times():
    start = time.monotonic_ns() - SECOND
    first, same, other = (Open(100.0, 50, seed).begin(start) for seed in (1, 1, 2))
    for clock in (first, same, other):
        everything(clock)
    assert first.due_ns == same.due_ns
    assert first.due_ns != other.due_ns


def test_what_nobody_came_to_add_stays_due_at_its_time():
    """The loop is open: a producer that was stuck for 2 s finds all jobs of these 2 s, each with its own due time."""
    start = time.monotonic_ns() - 2 * SECOND
    clock = Open(200.0, 10**6, seed=3).begin(start)
    assert clock.wait(0) == range(100), "as many as go in one round trip"
    clock.obey(0.0)
    changed = time.monotonic_ns()
    clock.obey(None)
    everything(clock)
    assert clock.due_ns[0] == start
    assert clock.due_ns == sorted(clock.due_ns)
    assert clock.due_ns[-1] <= changed
    assert len(clock.due_ns) == pytest.approx(400, abs=100)


def test_a_change_wakes_who_waits():
    clock = Open(0.0, 10**6, seed=1).begin(time.monotonic_ns())
    got = []
    waiting = threading.Thread(target=lambda: got.append(clock.wait(0)))
    waiting.start()
    clock.obey(1000.0)
    waiting.join(5)
    assert got[0].start == 0
    assert len(got[0]) > 0
    ended = threading.Thread(target=lambda: got.append(clock.wait(10**5)))
    clock.obey(0.0)
    ended.start()
    clock.obey(None)
    ended.join(5)
    assert got[1] == range(0)


def test_there_are_no_more_than_were_to_be():
    clock = Open(1000.0, 7, seed=1).begin(time.monotonic_ns() - SECOND)
    assert everything(clock) == list(range(7))


def test_from_a_change_on_the_rate_is_another():
    clock = Open(5.0, 10**6, seed=1).begin(time.monotonic_ns())
    clock.wait(0)
    clock.obey(2000.0)
    changed = time.monotonic_ns()
    wait_until("there are many", lambda: clock.wait(len(clock.due_ns)).stop > 200)
    assert sum(due > changed for due in clock.due_ns) > 190
