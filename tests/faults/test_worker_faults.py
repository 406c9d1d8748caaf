"""Faults of worker processes, from outside and inside: each takes effect in a real run, and the history says so."""

from types import SimpleNamespace

import pytest

import streamlab as sl
from streamlab.faults import schedule
from streamlab.history.fault_record import hit_by
from streamlab.scenarios import antipatterns
from tests.faults.runs import refused, run, struck, valid

WORK = sl.Sleep(count=80, rate=100.0, seconds=0.01)


def of(finished, worker):
    events = finished.history.events
    return events[(events["process"] == worker).to_numpy()]


def hits(finished):
    """What each fault met, one row a message."""
    events = finished.history.events
    met = events[(events["kind"] == "fault_hit").to_numpy()]
    return met.assign(fault=[hit_by(note) for note in met["note"]])


def test_a_paused_worker_becomes_a_zombie_and_nothing_is_lost(any_server, tmp_path):
    """While it stood still, whatever else was done, others claimed what it held; it finishes that, too: done twice."""
    faults = (
        sl.Pause("worker-2", at=0.2, seconds=0.8, holding=2),
        sl.Pause("worker-2", at=0.3, seconds=0.1),
        sl.Pause("all", at=0.35, seconds=0.1),
    )
    workload = sl.Sleep(count=80, rate=100.0, seconds=0.03)
    finished = valid(run(any_server, tmp_path, *faults, workload=workload, workers=3, threads=2, claim_after=0.3))
    pause, *_ = struck(finished)
    assert pause["held"] == 2
    assert pause["end"] - pause["start"] == pytest.approx(0.8, abs=0.3)
    times = of(finished, "worker-2")["time"]
    assert not times.between(pause["start"] + 0.05, pause["end"] - 0.05).any(), "it stood still"
    assert (times > pause["end"] - 0.05).any(), "and went on"
    assert finished.verdict.counts["reclaimed"] >= 1, "it may have read more between the look and SIGSTOP"
    assert finished.verdict.counts["done_twice"] >= 1


def test_a_kill_that_waits_for_more_to_hit_leaves_a_paused_worker_paused(any_server, tmp_path, monkeypatch):
    """It looks again and again whether the worker holds so many, and in the end takes it with what it holds."""
    monkeypatch.setattr(schedule, "_PATIENCE", 1.6)
    faults = sl.Pause("worker-1", at=0.1, seconds=0.5), sl.Kill("worker-1", at=0.2, holding=50, restart_after=0.1)
    workload = sl.Sleep(count=120, rate=100.0, seconds=0.02)
    finished = valid(run(any_server, tmp_path, *faults, workload=workload))
    pause, kill = struck(finished)
    assert pause["end"] - pause["start"] == pytest.approx(0.5, abs=0.3)
    assert not of(finished, "worker-1")["time"].between(pause["start"] + 0.05, pause["end"] - 0.05).any()
    assert 1 <= kill["held"] < 50
    assert kill["start"] >= 1.0
    assert set(of(finished, "worker-1")["incarnation"]) == {1, 2}


@pytest.mark.parametrize("worker", ["", antipatterns.plain], ids=["ours", "custom"])
def test_a_worker_is_slow_and_fails_as_often_as_it_was_told(any_server, tmp_path, worker):
    """A custom worker does not say how often a message was delivered: its process counts."""
    faults = (
        sl.Slow("worker-1", at=0.2, by=0.1, seconds=0.4),
        sl.Fail("worker-2", at=0.0, times=3),
        sl.Fail("all", at=0.0, job=30, times=1),
        sl.Fail("all", at=0.0, job=40, times=0),
    )
    settings = {"max_deliveries": 3, "retry_delay": 0.05} if not worker else {}
    finished = valid(run(any_server, tmp_path, *faults, workload=WORK, worker=worker, **settings))
    met, jobs, verdict = hits(finished), finished.history.jobs, finished.verdict
    slow, *_ = struck(finished)
    slowed, failed, once, poison = (met[(met["fault"] == fault).to_numpy()] for fault in range(4))
    assert slow["hit"] == len(slowed) >= 2
    assert set(slowed["process"]) == {"worker-1"}
    assert slowed["time"].between(slow["start"], slow["end"] + 0.2).all(), "and no longer"
    mine = of(finished, "worker-1")
    for row in slowed.to_dict("records"):
        trace = mine[((mine["entry"] == row["entry"]) & (mine["time"] >= row["time"])).to_numpy()]
        assert (trace["time"] >= row["time"] + 0.1).any()
    assert set(failed["process"]) == {"worker-2"}
    assert len(failed) == 3
    assert list(once["entry"])[:1] == [jobs.loc[30, "entry"]]
    assert jobs.loc[30, "times_done"] == 1
    assert set(poison["entry"]) == {jobs.loc[40, "entry"]} == set(verdict.dead_lettered)
    assert verdict.counts["produced_twice"] == 0, "its dead letter is no second entry of the job"
    if not worker:
        assert (len(once), len(poison)) == (1, 3)


def test_a_crash_happens_right_after_its_checkpoint(any_server, tmp_path):
    places = ("read", "started", "done", "acked")
    faults = [sl.Crash(f"worker-{n}", at=0.3, after=after, restart_after=0.2) for n, after in enumerate(places, 1)]
    # Work for 1.5 seconds and more: the new ones find some, also where a process takes its time to start.
    finished = run(any_server, tmp_path, *faults, workload=sl.Sleep(count=200, rate=120.0, seconds=0.01), workers=4)
    struck(valid(finished))
    jobs = finished.history.jobs.set_index("entry")
    met = hits(finished).set_index("process")
    for fault in faults:
        events = of(finished, fault.target)
        first = events[(events["incarnation"] == 1).to_numpy()]
        assert list(first["kind"])[-2:] == [fault.after, "fault_hit"], "nothing came after"
        assert (events["incarnation"] == 2).any(), "a new one took its place"
        done = jobs.loc[met.loc[fault.target, "entry"], "times_done"]
        assert done == (2 if fault.after == "done" else 1), "the effect existed, the XACK was not sent"
    assert not (finished.history.events["kind"] == "warning").any(), "it was planned"


def test_a_checkpoint_of_which_nobody_tells_is_refused_beforehand():
    context = SimpleNamespace(custom=True, workers=lambda: ["worker-1"])
    for after in ("read", "acked"):
        crash = sl.Crash("worker-1", at=0.3, after=after)
        refused(crash, context, f"a custom worker tells nobody when it has {after} a message: use after='started'")
