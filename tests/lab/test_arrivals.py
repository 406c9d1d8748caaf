"""When jobs are due: by a schedule, and while somebody changes the rate."""

import threading
import time

import numpy as np
import pytest

from streamlab.lab.arrivals import Arrivals
from tests.waiting import wait_until

SECOND = 1_000_000_000


def clock_at(rate, *, most=10**6, seed=1, ago=0.0, start=None):
    return Arrivals(None, rate, most, seed).begin(start or time.monotonic_ns() - int(ago * SECOND))


def everything(clock):
    jobs = []
    while found := clock.wait(len(jobs)):
        jobs += found
    return jobs


def test_a_schedule_ends_where_it_ends():
    start = time.monotonic_ns()
    clock = Arrivals([0.0, 0.01, 0.05]).begin(start)
    assert everything(clock) == [0, 1, 2]
    assert time.monotonic_ns() >= clock.due_ns[2] == start + SECOND // 20
    assert clock.wait(3) == range(0)


def test_random_arrivals_come_at_their_rate_and_are_independent():
    """Of 10 s that have passed: as many as the rate says, give or take; gaps that spread as exponential ones do."""
    for rate in (50.0, 1000.0):
        clock = clock_at(rate, ago=10.0)
        clock.obey(None)
        assert everything(clock) == list(range(len(clock.due_ns)))
        assert len(clock.due_ns) == pytest.approx(10 * rate, abs=5 * (10 * rate) ** 0.5)
        gaps = np.diff(clock.due_ns) / 1e9
        assert gaps.std() == pytest.approx(gaps.mean(), rel=0.15)


def test_the_same_seed_gives_the_same_times_and_no_more_than_were_to_be():
    start = time.monotonic_ns() - SECOND
    first, same, other = (clock_at(100.0, most=50, seed=seed, start=start) for seed in (1, 1, 2))
    assert [everything(clock) for clock in (first, same, other)] == [list(range(50))] * 3
    assert first.due_ns == same.due_ns != other.due_ns


def test_what_nobody_came_to_add_stays_due_at_its_time():
    """The loop is open: a producer that was stuck for 2 s finds all jobs of these 2 s, each with its own due time."""
    clock = clock_at(200.0, seed=3, ago=2.0)
    assert clock.wait(0) == range(100), "as many as go in one round trip"
    clock.obey(0.0)
    changed = time.monotonic_ns()
    clock.obey(None)
    everything(clock)
    assert clock.due_ns == sorted(clock.due_ns)
    assert clock.due_ns[-1] <= changed
    assert len(clock.due_ns) == pytest.approx(400, abs=100)


def test_a_change_wakes_who_waits_and_another_rate_holds_from_then_on():
    clock = clock_at(0.0)
    got = []
    waiting = threading.Thread(target=lambda: got.append(clock.wait(0)))
    waiting.start()
    clock.obey(2000.0)
    waiting.join(5)
    assert len(got[0]) > 0
    wait_until("there are many", lambda: clock.wait(len(clock.due_ns)).stop > 200)
    clock.obey(0.0)
    ended = threading.Thread(target=lambda: got.append(clock.wait(10**5)))
    ended.start()
    clock.obey(None)
    ended.join(5)
    assert got[1] == range(0)
