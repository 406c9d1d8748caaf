"""Faults of worker processes, from outside and inside: each takes effect in a real run, and the history says so."""

import pytest

import streamlab as sl
from streamlab.history.fault_record import hit_by
from streamlab.scenarios import antipatterns
from tests.faults.runs import refused, struck, valid
from tests.faults.runs import run as run_two


def run(server, tmp_path, *faults, count=80, seconds=0.01, **more):
    workload = sl.Sleep(count=count, rate=100.0, seconds=seconds)
    return run_two(server, tmp_path, *faults, workload=workload, **({"workers": 3} | more))


def hits(finished):
    events = finished.history.events
    met = events[(events["kind"] == "fault_hit").to_numpy()]
    assert all(hit_by(note) == 0 for note in met["note"])
    return met


def test_a_paused_worker_becomes_a_zombie_and_nothing_is_lost(any_server, tmp_path):
    """While it stood still the others claimed what it held; it finishes that, too, and so it is done twice."""
    pause = sl.Pause("worker-2", at=0.2, seconds=1.2, holding=2)
    finished = valid(run(any_server, tmp_path, pause, count=60, seconds=0.03, threads=2))
    (fault,) = struck(finished, "pause")
    assert fault["held"] == 2
    assert fault["end"] - fault["start"] == pytest.approx(1.2, abs=0.3)
    assert finished.verdict.counts["reclaimed"] >= 1, "it may have read more between the look and SIGSTOP"
    assert finished.verdict.counts["done_twice"] >= 1
    events = finished.history.events
    its = events[(events["process"] == "worker-2").to_numpy()]["time"]
    assert not its.between(fault["start"] + 0.05, fault["end"] - 0.05).any(), "it stood still"
    assert (its > fault["end"] - 0.05).any(), "and went on"


def test_a_short_pause_goes_unnoticed_and_a_kill_waits_until_its_target_holds_enough(any_server, tmp_path):
    faults = sl.Pause("worker-1", at=0.2, seconds=0.1), sl.Kill("worker-2", at=0.3, holding=2)
    finished = valid(run(any_server, tmp_path, *faults, count=60, seconds=0.03, threads=2))
    _, kill = struck(finished, "pause", "kill")
    assert kill["held"] == 2
    assert kill["kills"]
    assert finished.verdict.counts["reclaimed"] == 2, "none of the paused worker's"


def test_a_worker_that_never_holds_so_many_is_killed_with_what_it_holds(any_server, tmp_path):
    """On a fast machine it may never hold as many as were asked for: an idle worker's death would show nothing."""
    kill = sl.Kill("worker-2", at=0.1, holding=50)
    finished = valid(run(any_server, tmp_path, kill, count=200, seconds=0.004))
    (fault,) = struck(finished, "kill")
    assert 1 <= fault["held"] < 50
    assert 1.0 <= fault["start"] - 0.1 < 2.0


def test_a_slow_worker_takes_longer_while_it_lasts(any_server, tmp_path):
    finished = valid(run(any_server, tmp_path, sl.Slow("worker-1", at=0.2, by=0.1, seconds=0.4)))
    met = hits(finished)
    (fault,) = struck(finished, "slow")
    assert fault["hit"] == len(met) >= 2
    assert set(met["process"]) == {"worker-1"}
    assert met["time"].between(fault["start"], fault["end"] + 0.2).all(), "and no longer"
    events = finished.history.events
    mine = events[(events["process"] == "worker-1").to_numpy()].reset_index()
    for entry in met["entry"]:
        trace = mine[(mine["entry"] == entry).to_numpy()].set_index("kind")["time"]
        assert trace["done"] - trace["started"] >= 0.1


def test_a_handler_fails_as_often_as_it_was_told(any_server, tmp_path):
    finished = valid(run(any_server, tmp_path, sl.Fail("worker-2", at=0.1, times=3)))
    assert len(hits(finished)) == finished.verdict.counts["failed_attempts"] == 3


@pytest.mark.parametrize(("worker", "workers"), [("", 3), (antipatterns.plain, 1)], ids=["ours", "custom"])
def test_a_job_fails_at_its_first_delivery_wherever_that_is(any_server, tmp_path, worker, workers):
    """A custom worker does not say how often a message was delivered: its process counts."""
    fail = sl.Fail("all", at=0.0, job=30, times=1)
    finished = valid(run(any_server, tmp_path, fail, worker=worker, workers=workers))
    (met,) = hits(finished).to_dict("records")
    assert finished.history.jobs.loc[30, "entry"] == met["entry"]
    assert finished.history.jobs.loc[30, "times_done"] == 1


@pytest.mark.parametrize("worker", ["", antipatterns.plain], ids=["ours", "custom"])
def test_poison_ends_as_a_dead_letter(any_server, tmp_path, worker):
    poison = sl.Fail("all", at=0.0, job=30, times=0)
    settings = {"max_deliveries": 3, "retry_delay": 0.05} if not worker else {}
    finished = valid(run(any_server, tmp_path, poison, worker=worker, **settings))
    assert finished.verdict.dead_lettered == [finished.history.jobs.loc[30, "entry"]]
    assert finished.verdict.counts["produced_twice"] == 0, "its dead letter is no second entry of the job"
    assert worker or len(hits(finished)) == 3


@pytest.mark.parametrize("after", ["read", "started", "done", "acked"])
def test_a_crash_happens_right_after_its_checkpoint(any_server, tmp_path, after):
    # Work for two seconds and more: the new one finds some, also where a process takes its time to start.
    finished = run(any_server, tmp_path, sl.Crash("worker-1", at=0.3, after=after, restart_after=0.2), count=250)
    (met,) = hits(valid(finished)).to_dict("records")
    events = finished.history.events
    first = events[((events["process"] == "worker-1") & (events["incarnation"] == 1)).to_numpy()]
    assert list(first["kind"])[-2:] == [after, "fault_hit"], "nothing came after"
    assert (events["process"] == "worker-1").to_numpy()[events["incarnation"] == 2].any(), "a new one took its place"
    done = finished.history.jobs.set_index("entry").loc[met["entry"], "times_done"]
    assert done == (2 if after == "done" else 1), "the effect existed, the XACK was not sent"
    assert not (events["kind"] == "warning").any(), "it was planned"


def test_a_checkpoint_of_which_nobody_tells_is_refused_beforehand(any_server, tmp_path):
    for after in ("read", "acked"):
        crash = sl.Crash("worker-1", at=0.3, after=after)
        line = f"a custom worker tells nobody when it has {after} a message: use after='started'"
        refused(any_server, tmp_path, crash, line, worker=antipatterns.plain)
