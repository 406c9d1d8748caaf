"""Faults inside a worker's process, in real runs: each message that is met is in the history."""

import json

import pytest

import streamlab as sl
from streamlab.errors import UnsupportedError, UsageError
from streamlab.scenarios import antipatterns


def run(server, tmp_path, *faults, count=80, seconds=0.01, **more):
    workload = sl.Sleep(count=count, rate=100.0, seconds=seconds)
    experiment = sl.Experiment(workload=workload, claim_after=0.4, faults=faults, **more)
    return sl.Lab(server).run(experiment, out=tmp_path / "run")


def hits(finished, index=0):
    events = finished.history.events
    met = events[(events["kind"] == "fault_hit").to_numpy()]
    return met[[json.loads(note)["index"] == index for note in met["note"]]]


def test_a_slow_worker_takes_longer_while_it_lasts(any_server, tmp_path):
    finished = run(any_server, tmp_path, sl.Slow("worker-1", at=0.2, by=0.1, seconds=0.4))
    assert finished.verdict.verdict == "valid", finished.verdict.reasons
    met = hits(finished)
    assert len(met) >= 2
    assert set(met["process"]) == {"worker-1"}
    (fault,) = finished.history.faults.to_dict("records")
    assert met["time"].between(fault["start"], fault["end"] + 0.2).all(), "and no longer"
    events = finished.history.events
    mine = events[(events["process"] == "worker-1").to_numpy()].reset_index()
    for entry in met["entry"]:
        life = mine[(mine["entry"] == entry).to_numpy()].set_index("kind")["time"]
        assert life["done"] - life["started"] >= 0.1


def test_a_handler_that_fails_so_often_as_it_was_told(any_server, tmp_path):
    finished = run(any_server, tmp_path, sl.Fail("worker-2", at=0.1, times=3))
    assert finished.verdict.verdict == "valid", finished.verdict.reasons
    assert len(hits(finished)) == 3
    assert finished.verdict.counts["failed_attempts"] == 3


def test_a_job_that_fails_at_its_first_delivery_wherever_that_is(any_server, tmp_path):
    finished = run(any_server, tmp_path, sl.Fail("all", at=0.0, job=30, times=1))
    assert finished.verdict.verdict == "valid", finished.verdict.reasons
    (met,) = hits(finished).to_dict("records")
    assert finished.history.jobs.loc[30, "entry"] == met["entry"]
    assert finished.history.jobs.loc[30, "times_done"] == 1


def test_poison_ends_as_a_dead_letter(any_server, tmp_path):
    finished = run(any_server, tmp_path, sl.Fail("all", at=0.0, job=30, times=0), max_deliveries=3, retry_delay=0.05)
    assert finished.verdict.verdict == "valid", finished.verdict.reasons
    assert finished.verdict.dead_lettered == [finished.history.jobs.loc[30, "entry"]]
    assert len(hits(finished)) == 3


def test_a_worker_of_somebody_elses_gives_up_a_job_that_always_fails(any_server, tmp_path):
    poison = sl.Fail("all", at=0.0, job=30, times=0)
    finished = run(any_server, tmp_path, poison, worker=antipatterns.plain)
    assert finished.verdict.verdict == "valid", finished.verdict.reasons
    assert finished.verdict.dead_lettered == [finished.history.jobs.loc[30, "entry"]]
    assert finished.verdict.counts["produced_twice"] == 0, "its dead letter is no second entry of the job"


def test_a_job_fails_once_with_a_worker_that_does_not_say_how_often_it_was_delivered(any_server, tmp_path):
    finished = run(any_server, tmp_path, sl.Fail("all", at=0.0, job=30, times=1), worker=antipatterns.plain, workers=1)
    assert finished.verdict.verdict == "valid", finished.verdict.reasons
    assert len(hits(finished)) == 1
    assert finished.history.jobs.loc[30, "times_done"] == 1


@pytest.mark.parametrize("after", ["read", "started", "done", "acked"])
def test_a_crash_happens_right_after_its_checkpoint(any_server, tmp_path, after):
    # Work for two seconds and more: the new one finds some, also where a process takes its time to start.
    finished = run(any_server, tmp_path, sl.Crash("worker-1", at=0.3, after=after, restart_after=0.2), count=250)
    assert finished.verdict.verdict == "valid", finished.verdict.reasons
    (met,) = hits(finished).to_dict("records")
    events = finished.history.events
    first_life = events[(events["process"] == "worker-1").to_numpy() & (events["incarnation"] == 1).to_numpy()]
    *_, before, last = first_life["kind"]
    assert (before, last) == (after, "fault_hit"), "nothing came after"
    assert (events["process"] == "worker-1").to_numpy()[events["incarnation"] == 2].any(), "a new one took its place"
    done = finished.history.jobs.set_index("entry").loc[met["entry"], "times_done"]
    assert done == (2 if after == "done" else 1), "the effect existed, the XACK was not sent"
    assert not (events["kind"] == "warning").any(), "it was planned"


@pytest.mark.parametrize("after", ["read", "acked"])
def test_a_checkpoint_of_which_nobody_tells_is_refused_beforehand(any_server, tmp_path, after):
    line = f"a worker that is not streamlab's own tells nobody when it has {after} a message: use after='started'"
    with pytest.raises(UnsupportedError, match=line):
        run(any_server, tmp_path, sl.Crash("worker-1", at=0.3, after=after), worker=antipatterns.plain)
    assert not (tmp_path / "run" / "experiment.toml").exists(), "refused before anything was begun"


@pytest.mark.parametrize(
    "fault",
    [
        lambda: sl.Slow("worker-1", at=0, by=0, seconds=1),
        lambda: sl.Slow("worker-1", at=0, by=1, seconds=float("inf")),
        lambda: sl.Fail("worker-1", at=0, times=-1),
        lambda: sl.Fail("worker-1", at=0, times=1.5),
        lambda: sl.Fail("worker-1", at=0, seconds=0),
        lambda: sl.Crash("worker-1", at=0, after="lunch"),
        lambda: sl.Crash("worker-1", at=0, restart_after=0),
    ],
)
def test_settings_that_cannot_be_meant(fault):
    with pytest.raises(UsageError, match=r"fault '(slow|fail|crash)'"):
        fault()
