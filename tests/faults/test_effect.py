"""Faults that hinder one another, and faults that do nothing: what was not done is not said to have been done."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

import streamlab as sl
from streamlab.faults import (
    CutAppendOnlyFile,
    Fault,
    FreezeRedis,
    LimitMemory,
    PauseClients,
    RestartRedis,
    SetConfig,
    TwinWorker,
)
from streamlab.servers import Server
from tests.at_hand import SERVERS
from tests.faults.runs import run, struck

LONG = sl.Sleep(count=150, rate=100.0, seconds=0.01)


@pytest.fixture(scope="module")
def mine() -> Any:
    with SERVERS[0].opened() as server:
        yield server


# Two at a time -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        sl.Pause("worker-1", at=0.4, seconds=0.2),
        sl.Pause("all", at=0.4, seconds=0.2),
        sl.Kill("worker-1", at=0.4, holding=50, restart_after=0.1),  # looks again and again whether it holds so many
    ],
    ids=["pause", "pause-all", "kill-that-waits"],
)
def test_a_pause_lasts_whatever_else_is_done_to_its_worker(mine: Server, tmp_path: Path, other: Fault) -> None:
    finished = run(mine, tmp_path, sl.Pause("worker-1", at=0.2, seconds=1.0), other, workload=LONG)
    pause = finished.history.faults.iloc[0]
    assert (pause["fault"], pause["end"] - pause["start"]) == ("pause", pytest.approx(1.0, abs=0.3))
    events = finished.history.events
    its = events[(events["process"] == "worker-1").to_numpy()]["time"]
    assert not its.between(pause["start"] + 0.05, pause["end"] - 0.05).any(), "it stood still to the end"
    assert (its > pause["end"]).any(), "and went on"


def test_two_that_change_one_setting_leave_it_as_it_was(mine: Server, tmp_path: Path) -> None:
    """The first ends before the second, which must not set back what the first had set."""
    faults = (
        SetConfig("hz", "50", at=0.1, seconds=0.2),
        SetConfig("hz", "70", at=0.2, seconds=0.3),
        LimitMemory(at=0.1, seconds=0.2, spare=10**7),
        LimitMemory(at=0.2, seconds=0.3, spare=10**7),
    )
    run(mine, tmp_path, *faults)
    with mine.client() as client:
        assert client.config_get("hz", "maxmemory") == {"hz": "10", "maxmemory": "0"}


# Without effect ------------------------------------------------------------------------------------


def doubts(server: Server, tmp_path: Path, *faults: Fault, **more: Any) -> str:
    finished = run(server, tmp_path, *faults, **more)
    assert finished.verdict.verdict == "unknown", finished.verdict.reasons
    return " & ".join(finished.verdict.reasons)


@pytest.mark.parametrize(
    ("fault", "broken", "doing"),
    [
        (sl.Kill("worker-1", at=0.1), "streamlab.lab.context.RunContext.kill", lambda it, name: it.resume(name, 0)),
        (FreezeRedis(at=0.1, seconds=0.3), "streamlab.servers.ProcessServer.pause", lambda it: None),
        (PauseClients(at=0.1, seconds=0.3), "redis.Redis.client_pause", lambda *_, **__: None),
        (PauseClients(at=0.1, seconds=0.3, mode="ALL"), "redis.Redis.client_pause", lambda *_, **__: None),
    ],
)
def test_a_fault_that_does_nothing_is_told(
    mine: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault, broken: str, doing: Any
) -> None:
    monkeypatch.setattr(broken, doing)
    said = "worker-1 survived it" if isinstance(fault, sl.Kill) else "Redis answered all the same"
    assert f"is in doubt: {said}" in doubts(mine, tmp_path, fault)


def test_a_worker_that_somebody_else_wakes(mine: Server, tmp_path: Path) -> None:
    def wake(line: str) -> None:
        if "SIGSTOP" in line:
            (worker,) = (it for it in psutil.Process().children(recursive=True) if it.status() == psutil.STATUS_STOPPED)
            os.kill(worker.pid, signal.SIGCONT)

    said = doubts(mine, tmp_path, sl.Pause("worker-1", at=0.1, seconds=0.3), say=wake)
    assert "pause worker-1" in said
    assert "worker-1 did not stand still until its end" in said


def test_a_twin_that_comes_too_late(mine: Server, tmp_path: Path) -> None:
    said = doubts(mine, tmp_path, TwinWorker("worker-1", at=0.1, seconds=0.01))
    assert "twin worker-1" in said
    assert "hit nothing: the second process got no message" in said


def test_a_fault_waits_for_a_redis_that_is_down(tmp_path: Path) -> None:
    with SERVERS[0].opened("aof-always") as server:
        restart = RestartRedis(at=0.1, seconds=0.5)
        finished = run(server, tmp_path, restart, PauseClients(at=0.2, seconds=0.1), workload=LONG)
    down, pause = struck(finished, "redis-restart", "pause-clients")
    assert pause["start"] >= down["end"]


def test_a_fault_that_meets_a_redis_that_stays_away_is_told(tmp_path: Path) -> None:
    """One cannot begin, the other cannot end as planned."""
    with SERVERS[0].opened("aof-always") as server:
        said = doubts(
            server,
            tmp_path,
            CutAppendOnlyFile(at=0.1, seconds=0.3),
            RestartRedis(at=0.2, seconds=3.0),
            FreezeRedis(at=0.3, seconds=0.1),
        )
    assert "redis-freeze was planned and never happened" in said
    assert "aof-cut at 0.1" in said
    assert "is in doubt: its end went wrong" in said
