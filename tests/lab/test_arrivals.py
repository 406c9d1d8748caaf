"""When jobs are due: at random, and while somebody changes the rate."""

import threading
import time

import numpy as np
import pytest

from streamlab.lab.arrivals import Arrivals
from tests.waiting import wait_until

SECOND = 1_000_000_000


def arrivals_at(rate, *, most=10**6, seed=1, ago=0.0, start=None):
    return Arrivals(start or time.monotonic_ns() - int(ago * SECOND), rate, most, seed)


def everything(arrivals):
    jobs = []
    while found := arrivals.wait(len(jobs)):
        jobs += found
    return jobs


def test_random_arrivals_come_at_their_rate_and_are_independent():
    """Of 10 s that have passed: as many as the rate says, give or take; gaps that spread as exponential ones do."""
    for rate in (50.0, 1000.0):
        arrivals = arrivals_at(rate, ago=10.0)
        arrivals.change(None)
        assert everything(arrivals) == list(range(len(arrivals.due_ns)))
        assert len(arrivals.due_ns) == pytest.approx(10 * rate, abs=5 * (10 * rate) ** 0.5)
        gaps = np.diff(arrivals.due_ns) / 1e9
        assert gaps.std() == pytest.approx(gaps.mean(), rel=0.15)


def test_the_same_seed_gives_the_same_times_and_no_more_than_were_to_be():
    start = time.monotonic_ns()
    first, same, other = (arrivals_at(1000.0, most=50, seed=seed, start=start) for seed in (1, 1, 2))
    for each in (first, same, other):
        assert everything(each) == list(range(50))
        assert time.monotonic_ns() >= each.due_ns[-1] > each.due_ns[0] == start
    assert first.due_ns == same.due_ns != other.due_ns


def test_what_nobody_came_to_add_stays_due_at_its_time():
    """The loop is open: a producer that was stuck for 2 s finds all jobs of these 2 s, each with its own due time."""
    arrivals = arrivals_at(200.0, seed=3, ago=2.0)
    assert arrivals.wait(0) == range(100), "as many as go in one round trip"
    arrivals.change(0.0)
    changed = time.monotonic_ns()
    arrivals.change(None)
    everything(arrivals)
    assert arrivals.due_ns == sorted(arrivals.due_ns)
    assert arrivals.due_ns[-1] <= changed
    assert len(arrivals.due_ns) == pytest.approx(400, abs=100)


def test_a_change_wakes_who_waits_and_another_rate_holds_from_then_on():
    arrivals = arrivals_at(0.001)
    got = [arrivals.wait(0)]
    arrivals.change(0.0)
    for rate, job in ((2000.0, 1), (None, 10**5)):
        waiting = threading.Thread(target=lambda job=job: got.append(arrivals.wait(job)))
        waiting.start()
        arrivals.change(rate)
        waiting.join(5)
        if rate:
            wait_until("there are many", lambda: arrivals.wait(len(arrivals.due_ns)).stop > 200)
            arrivals.change(0.0)
    assert [bool(jobs) for jobs in got] == [True, True, False]
