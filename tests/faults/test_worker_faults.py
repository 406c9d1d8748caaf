"""Faults of worker processes, in real runs: each really takes effect, and the history says so."""

import pytest

import streamlab as sl
from streamlab.errors import UsageError


def run(server, tmp_path, *faults, **more):
    workload = sl.Sleep(count=60, rate=100.0, seconds=0.03)
    experiment = sl.Experiment(workload=workload, claim_after=0.4, threads=2, faults=faults, **more)
    return sl.Lab(server).run(experiment, out=tmp_path / "run")


def test_a_paused_worker_becomes_a_zombie_and_nothing_is_lost(any_server, tmp_path):
    """While it stood still the others claimed what it held; it finishes that, too, and so it is done twice."""
    finished = run(any_server, tmp_path, sl.Pause("worker-2", at=0.2, seconds=1.2, holding=2))
    verdict = finished.verdict
    assert verdict.verdict == "valid", verdict.reasons
    (fault,) = finished.history.faults.to_dict("records")
    assert fault["held"] == 2
    assert fault["end"] - fault["start"] == pytest.approx(1.2, abs=0.3)
    assert verdict.counts["reclaimed"] >= 1, "it may have read more between the look and SIGSTOP"
    assert verdict.counts["done_twice"] >= 1
    events = finished.history.events
    away = events[
        (events["process"] == "worker-2") & events["time"].between(fault["start"] + 0.05, fault["end"] - 0.05)
    ]
    assert len(away) == 0, "it stood still"
    assert (events[(events["process"] == "worker-2")]["time"] > fault["end"] - 0.05).any(), "and went on"


def test_a_short_pause_goes_unnoticed(any_server, tmp_path):
    finished = run(any_server, tmp_path, sl.Pause("worker-1", at=0.2, seconds=0.1))
    assert finished.verdict.verdict == "valid", finished.verdict.reasons
    assert finished.verdict.counts["reclaimed"] == 0
    assert finished.verdict.counts["done_twice"] == 0


def test_a_kill_waits_for_full_hands(any_server, tmp_path):
    finished = run(any_server, tmp_path, sl.Kill("worker-2", at=0.0, holding=2))
    (fault,) = finished.history.faults.to_dict("records")
    assert fault["held"] == 2


@pytest.mark.parametrize(
    "fault",
    [
        lambda: sl.Pause("worker-1", at=1, seconds=0),
        lambda: sl.Pause("worker-1", at=1, seconds=float("nan")),
        lambda: sl.Pause("worker-1", at=-1, seconds=1),
        lambda: sl.Kill("worker-1", at=1, holding=0),
        lambda: sl.Kill("worker-1", at=1, holding=1.5),
        lambda: sl.Kill("worker-1", at=1, restart_after=-1),
        lambda: sl.Kill("worker-1", at=float("inf")),
    ],
)
def test_settings_that_cannot_be_meant(fault):
    with pytest.raises(UsageError, match=r"fault '(kill|pause)'"):
        fault()
