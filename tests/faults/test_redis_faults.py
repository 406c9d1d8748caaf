"""Faults of Redis itself, in real runs: each really takes effect, it ends, and Redis is left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import streamlab as sl
from streamlab.errors import UnsupportedError
from streamlab.faults import (
    CutAppendOnlyFile,
    DestroyGroup,
    FlushAll,
    FreezeRedis,
    KillClients,
    LimitMemory,
    PauseClients,
    RestartRedis,
    SetConfig,
    SetID,
    SleepRedis,
    TwinWorker,
    schedule,
)
from streamlab.faults.redis import RedisFault
from streamlab.servers import ExternalServer, Server
from tests.at_hand import SERVERS, AtHand
from tests.faults.runs import refused, run, striking, struck, valid
from tests.faults.test_data import EACH

#: Workers wait for Redis more than they work.
IDLE = sl.Sleep(count=100, rate=100.0, seconds=0.0)


@pytest.fixture(scope="module")
def mine(any_server: Server) -> Iterator[Server]:
    """A server that these tests may break, as long as it is whole in the end."""
    yield any_server
    assert_whole(any_server)


def assert_whole(server: Server) -> None:
    """It answers at once, takes what it is told, and has the settings with which it started."""
    with server.client(socket_timeout=1.0) as client:
        assert client.set(server.prefix + "whole", 1)
        assert client.delete(server.prefix + "whole") == 1
        settings = {"maxmemory": "0", "maxmemory-policy": "noeviction", "hz": "10"}
        assert client.config_get(*settings) == settings
        assert list(client.scan_iter(f"{server.prefix}*")) == []


def held(finished: sl.Run) -> set[str]:
    """What the stream held in the end."""
    assert finished.history.entries is not None
    return set(finished.history.entries["entry"])


def test_only_the_targets_connections_are_closed(any_server: Server, context: Any, direct: Any) -> None:
    """Each is called by stream and process, and a worker has several; a twin goes by the worker's name."""
    names = [f"{context.stream}/{name}" for name in ("worker-1", "worker-1", "worker-1-twin", "worker-2", "producer")]
    clients = [any_server.client(client_name=name) for name in names]
    for target, closed in (("worker-1", 3), ("all", 5)):
        for client in clients:
            client.ping()
        with striking(KillClients(target, at=1), context) as record:
            assert record.hit == closed
        left = [row["name"] for row in direct.client_list()]
        assert [name for name in names if name in left] == names[closed:]
    for client in clients:
        client.close()


def test_while_it_stands_still_nothing_happens(mine: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the workers nor the sampler are served, no other fault begins, and the lab ends it in time."""
    monkeypatch.setattr(schedule, "_PATIENCE", 0.3)  # which is not used up by waiting for the standstill before
    faults = (
        PauseClients(at=0.1, seconds=0.3),
        PauseClients(at=0.2, seconds=0.3, mode="ALL"),
        SleepRedis(at=0.3, seconds=0.3),
        FreezeRedis(at=0.4, seconds=0.3),
        sl.Kill("worker-1", at=0.5),
    )
    workload = sl.Sleep(count=100, rate=75.0, seconds=0.02)
    finished = valid(run(mine, tmp_path, *faults, workload=workload))
    *standstills, kill = struck(finished)
    events, end = finished.history.events, 0.0
    for fault in standstills:
        assert fault["hit"] >= 3, "two workers and a producer"
        assert 0.25 < fault["end"] - fault["start"] < 1.5
        assert fault["start"] >= end
        begin, end = fault["start"] + 0.1, fault["end"]
        assert not (events["kind"].isin(["added", "acked"]) & events["time"].between(begin, end - 0.1)).any()
        sampled = finished.history.samples["time"].between(begin, end - 0.1).any()
        assert sampled == (fault is standstills[0]), "only writing waits; else a gap, never a made-up value"
    assert kill["start"] > end - 0.02
    assert kill["held"] >= 1


def test_what_a_restart_loses_and_a_flush(tmp_path: Path) -> None:
    """With snapshots: by SIGTERM nothing, and by SIGKILL all that was added since."""
    faults = RestartRedis(at=0.15, how="TERM", seconds=0.1), RestartRedis(at=0.6, seconds=0.1), FlushAll(at=1.1)
    with SERVERS[0].opened("rdb") as server:
        finished = run(server, tmp_path, *faults, workload=sl.Sleep(count=150, rate=100.0, seconds=0.03))
        assert_whole(server)
    term, kill, flush = struck(finished)
    assert "SIGTERM, persistence rdb) with" in term["said"]
    assert (term["lost"], term["entries"]) == (0, [])
    assert kill["lost"] >= 1
    assert len(flush["entries"]) == flush["hit"]
    events, counts = finished.history.events, finished.verdict.counts
    confirmed = events[(events["kind"] == "added") & (events["time"] < flush["start"])]
    assert not held(finished) & set(confirmed["entry"])
    assert finished.verdict.verdict == "invalid"
    assert counts["lost_by_redis"] == counts["lost"] >= 1


def test_what_a_cut_append_only_file_loses(tmp_path: Path) -> None:
    """SIGKILL is no power cut: what was written is the kernel's. A simulated one takes the end of the file."""
    faults = (
        RestartRedis(at=0.1, seconds=0.3),
        CutAppendOnlyFile(at=0.2, size=2500),
    )
    with SERVERS[0].opened("aof-everysec") as server:
        finished = run(server, tmp_path, *faults, workload=sl.Sleep(count=80, rate=100.0, seconds=0.03))
        assert_whole(server)
    restart, cut = struck(finished)
    assert restart["lost"] == 0
    assert cut["start"] >= restart["end"], "while Redis is down no other fault begins"
    assert "simulated power cut" in cut["said"]
    assert (cut["hit"], cut["lost"] >= 1) == (2500, True)
    events, counts = finished.history.events, finished.verdict.counts
    confirmed = events[(events["kind"] == "added") & (events["time"] < cut["end"])]
    kept = confirmed["entry"].isin(held(finished))
    lost = confirmed["time"][~kept]
    assert 1 <= len(lost) <= 50, "they were confirmed to the producer"
    assert not confirmed["time"][kept].between(lost.min(), lost.max()).any(), "the last ones before the cut"
    assert finished.verdict.verdict == "invalid"
    assert counts["lost_by_redis"] == counts["lost"] >= 1


def test_settings_are_changed_and_set_back(mine: Server, tmp_path: Path) -> None:
    """The first of two that change one setting ends before the second, and does not set back what that has set."""
    during = []

    def look(line: str) -> None:
        if "CONFIG SET" in line:
            with mine.client() as client:
                during.append(client.config_get("hz")["hz"])

    faults = (
        SetConfig("hz", "50", at=0.1, seconds=0.2),
        SetConfig("hz", "70", at=0.2, seconds=0.3),
        LimitMemory(at=0.1, seconds=0.2),
        LimitMemory(at=0.2, seconds=0.3),
    )
    finished = run(mine, tmp_path, *faults, workload=IDLE, say=look)
    _, _, memory, _ = struck(finished)
    assert during == ["50", "70"]
    assert_whole(mine)
    counts = finished.verdict.counts
    assert 1 <= counts["not_added"] < 100
    assert (counts["done"], counts["lost"]) == (100 - counts["not_added"], 0)
    assert memory["hit"] >= 1


# Interrupted, and everywhere -----------------------------------------------------------------------


@pytest.mark.parametrize("word", ["SIGSTOP", "SIGKILL", "CLIENT PAUSE"])
def test_an_interrupted_run_leaves_redis_whole(mine: Server, tmp_path: Path, word: str) -> None:
    """Frozen, down or paused at the moment of Ctrl-C: it has to be back before its settings can be set back."""
    fault = {"SIGSTOP": FreezeRedis, "SIGKILL": RestartRedis, "CLIENT PAUSE": PauseClients}[word](at=0.15, seconds=60)
    settings = SetConfig("hz", "50", at=0.1, seconds=60), LimitMemory(at=0.1, seconds=60)

    def listen(line: str) -> None:
        if word in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(mine, tmp_path, fault, *(settings if word == "SIGSTOP" else ()), say=listen)
    assert_whole(mine)


def test_a_fault_that_is_interrupted_half_way_is_undone(
    mine: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pause() -> None:
        type(mine).pause(mine)
        raise KeyboardInterrupt

    monkeypatch.setattr(mine, "pause", pause, raising=False)
    with pytest.raises(KeyboardInterrupt):
        run(mine, tmp_path, FreezeRedis(at=0.1, seconds=60))
    assert_whole(mine)


@pytest.mark.parametrize(
    "at_hand", [SERVERS[0], *(pytest.param(it, marks=pytest.mark.soak) for it in SERVERS[1:4])], ids=lambda it: it.id
)
def test_what_depends_on_the_version_works_on_every_version(at_hand: AtHand, tmp_path: Path) -> None:
    """All that asks a server something of its own: scripts, settings, lists of clients, the append-only file."""
    faults = (
        KillClients("all", at=0.05),
        SetID(at=0.1, to="0"),
        PauseClients(at=0.15, seconds=0.1),
        SleepRedis(at=0.3, seconds=0.1),
        DestroyGroup(at=0.5),
        LimitMemory(at=0.6, seconds=0.2),
        CutAppendOnlyFile(at=0.8, size=100),
    )
    with at_hand.opened("aof-everysec") as server:
        finished = run(server, tmp_path, *faults, workload=sl.Sleep(count=130, rate=100.0, seconds=0.01))
        assert_whole(server)
    connections, _, _, sleep, *_ = struck(finished)
    assert connections["hit"] >= 3, "two workers and a producer"
    assert sleep["end"] - sleep["start"] >= 0.1


# Without effect ------------------------------------------------------------------------------------


def test_a_fault_that_does_nothing_is_told(mine: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for broken, doing in (
        ("streamlab.lab.context.RunContext.kill", lambda it, name: it.resume(name, 0)),
        ("streamlab.servers.ProcessServer.pause", lambda it: None),
        ("redis.Redis.client_pause", lambda *_, **__: None),
    ):
        monkeypatch.setattr(broken, doing)

    def wake(line: str) -> None:
        if "stopped worker-2 (SIGSTOP)" in line:
            stopped = (it for it in psutil.Process().children(recursive=True) if it.status() == psutil.STATUS_STOPPED)
            next(stopped).resume()

    faults = (
        sl.Kill("worker-1", at=0.1),
        sl.Pause("worker-2", at=0.1, seconds=0.3),
        FreezeRedis(at=0.3, seconds=0.2),
        PauseClients(at=0.4, seconds=0.2),
        PauseClients(at=0.5, seconds=0.2, mode="ALL"),
        TwinWorker("worker-2", at=0.9, seconds=0.01),
    )
    verdict = run(mine, tmp_path, *faults, workload=IDLE, say=wake).verdict
    assert verdict.verdict == "unknown"
    for fault, doubt in zip(
        faults,
        (
            "is in doubt: worker-1 survived it",
            "is in doubt: worker-2 did not stand still until its end",
            *["is in doubt: Redis answered all the same"] * 3,
            "hit nothing: the second process got no message",
        ),
        strict=True,
    ):
        assert any(fault.kind in reason and doubt in reason for reason in verdict.reasons), (doubt, verdict.reasons)


# Refused -------------------------------------------------------------------------------------------


def test_somebody_elses_redis_is_left_alone(any_server: Server, context: Any, tmp_path: Path) -> None:
    line = r"somebody else's Redis \(redis://:\*\*\*@.*\) is left alone: use --server"
    with ExternalServer(any_server.url) as context.server:
        for fault in (fault for fault in EACH if isinstance(fault, RedisFault)):
            refused(fault, context, line)
        with pytest.raises(UnsupportedError, match=line):
            run(context.server, tmp_path, FlushAll(at=0.1))
    assert not (tmp_path / "run" / "experiment.toml").exists(), "refused before anything was begun"


def test_what_this_redis_cannot_do(context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamlab.faults.redis._LONG_SCRIPT", "return '0'")  # as in Redis 7.2, which is not at hand
    for fault, line in (
        (
            SleepRedis(at=0.1, seconds=0.1),
            r"in \w+ \d+\.\d+\.\d+ the clock stands still for a script: use redis-freeze",
        ),
        (SetConfig("no-such-setting", "1", at=0, seconds=1), ".*has no setting 'no-such-setting'"),
        (SetConfig("hz*", "1", at=0, seconds=1), ".*has no setting"),
        (SetConfig("databases", "1", at=0, seconds=1), ".*does not change 'databases' while it runs"),
        (CutAppendOnlyFile(at=0.1, size=100), ".*writes no append-only file: set persistence = 'aof-everysec'"),
    ):
        refused(fault, context, line)
