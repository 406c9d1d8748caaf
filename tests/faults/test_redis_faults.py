"""Faults of Redis itself, in real runs: each really takes effect, it ends, and Redis is left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import streamlab as sl
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
    schedule,
)
from streamlab.faults.redis import RedisFault
from streamlab.servers import ExternalServer, Server
from tests.at_hand import OWN_KINDS, SERVERS, AtHand
from tests.faults.each import EACH
from tests.faults.runs import interrupted, refused, run, struck, times, valid

#: One of each version.
VERSIONS = pytest.mark.parametrize(
    "at_hand", [SERVERS[0], *(pytest.param(it, marks=pytest.mark.soak) for it in SERVERS[1:4])], ids=lambda it: it.id
)

#: Workers wait for Redis more than they work.
IDLE = sl.Sleep(count=60, rate=100.0, seconds=0.0)


@pytest.fixture(scope="module")
def mine() -> Iterator[Server]:
    """A server that these tests may break, as long as it is whole in the end: Redis 8.2."""
    with SERVERS[0].opened() as server:
        yield server
        assert_whole(server)


def assert_whole(server: Server) -> None:
    """It answers at once, takes what it is told, and has the settings with which it started."""
    with server.client(socket_timeout=1.0) as client:
        assert client.set(server.prefix + "whole", 1)
        assert client.delete(server.prefix + "whole") == 1
        assert client.config_get("maxmemory", "maxmemory-policy") == {
            "maxmemory": "0",
            "maxmemory-policy": "noeviction",
        }
        assert client.config_get("hz") == {"hz": "10"}
        assert list(client.scan_iter(f"{server.prefix}*")) == []


# Connections ---------------------------------------------------------------------------------------


def test_only_the_targets_connections_are_closed(mine: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks who is connected just before and just after: who loses a connection between two commands never notices."""
    seen: list[dict[str, str]] = []

    def watched(self: KillClients, context: Any, record: Any) -> Iterator[None]:
        def look() -> None:
            seen.append({row["id"]: row["name"].rpartition("/")[2] for row in context.client.client_list()})

        look()
        steps = strike(self, context, record)
        next(steps)
        look()
        yield

    strike = KillClients.strike
    monkeypatch.setattr(KillClients, "strike", watched)
    finished = valid(run(mine, tmp_path, KillClients("worker-1", at=0.2), workload=IDLE))
    (fault,) = struck(finished, "kill-clients")
    before, after = seen
    assert set(before.values()) >= {"worker-1", "worker-2", "producer"}
    closed = [before[number] for number in before.keys() - after]
    assert set(closed) == {"worker-1"}
    assert len(closed) == fault["hit"] == list(before.values()).count("worker-1")


# Standing still ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        PauseClients(at=0.1, seconds=0.5),
        PauseClients(at=0.1, seconds=0.5, mode="ALL"),
        SleepRedis(at=0.1, seconds=0.5),
        FreezeRedis(at=0.1, seconds=0.5),
    ],
    ids=lambda fault: f"{fault.kind}-{getattr(fault, 'mode', '')}",
)
def test_while_it_stands_still_nothing_happens(mine: Server, tmp_path: Path, fault: sl.faults.Fault) -> None:
    """Neither the workers nor the sampler are served, and the lab, which is not either, ends it in time."""
    finished = valid(run(mine, tmp_path, fault))
    (found,) = struck(finished, fault.kind)
    assert found["hit"] >= 3, "two workers and a producer"
    assert 0.45 < found["end"] - found["start"] < 2.0
    assert times(finished, "added", found) == []
    assert times(finished, "acked", found) == []
    reading = isinstance(fault, PauseClients) and fault.mode == "WRITE"
    assert bool(times(finished, "samples", found)) == reading, "a gap in the samples, never a made-up value"


def test_nothing_else_begins_while_redis_stands_still(
    mine: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was due meanwhile has all its patience left to hit something, and the standstill lasts no longer for it."""
    monkeypatch.setattr(schedule, "_PATIENCE", 0.3)
    faults = FreezeRedis(at=0.1, seconds=0.8), sl.Kill("worker-1", at=0.2)
    freeze, kill = struck(valid(run(mine, tmp_path, *faults, claim_after=1.0)), "redis-freeze", "kill")
    assert freeze["end"] - freeze["start"] == pytest.approx(0.8, abs=0.4)
    assert kill["start"] > freeze["end"] - 0.02
    assert kill["held"] >= 1


# Losing --------------------------------------------------------------------------------------------


#: SIGKILL is no power cut: what was written to an append-only file is the kernel's.
LOSING = {"none KILL", "none TERM", "rdb KILL"}


@pytest.mark.parametrize("how", ["KILL", "TERM"])
@pytest.mark.parametrize("persistence", ["none", "rdb", "aof-always", "aof-everysec", "aof-no"])
def test_what_a_restart_loses(tmp_path: Path, persistence: Any, how: Any) -> None:
    loses = f"{persistence} {how}" in LOSING
    with SERVERS[0].opened(persistence) as server:
        finished = run(server, tmp_path, RestartRedis(at=0.15, how=how, seconds=0.2))
        assert_whole(server)
    (fault,) = struck(finished, "redis-restart")
    assert f"SIG{how}, persistence {persistence}) with {fault['lost'] if loses else ''}" in fault["said"]
    assert bool(fault["lost"]) == loses
    assert bool(fault["entries"]) == loses
    counts = finished.verdict.counts
    assert finished.history.entries is not None
    kept = set(finished.history.entries["entry"])
    confirmed = finished.history.events
    confirmed = confirmed[(confirmed["kind"] == "added") & (confirmed["time"] < fault["start"])]
    if loses:
        assert not kept & set(confirmed["entry"])
        assert finished.verdict.verdict == "invalid"
        assert counts["lost_by_redis"] == counts["lost"] >= 1
    else:
        assert kept >= set(confirmed["entry"])
        assert (counts["lost"], counts["stuck"]) == (0, 0)


def test_a_restarted_container_is_found_again(tmp_path: Path) -> None:
    with OWN_KINDS[1].opened("aof-everysec") as server:
        finished = run(server, tmp_path, RestartRedis(at=0.15, seconds=0.1))
    (fault,) = struck(finished, "redis-restart")
    assert fault["lost"] == 0
    assert (finished.verdict.counts["lost"], finished.verdict.counts["stuck"]) == (0, 0)


def test_flushall_loses_what_was_not_done(mine: Server, tmp_path: Path) -> None:
    finished = run(mine, tmp_path, FlushAll(at=0.1))
    (fault,) = struck(finished, "flushall")
    counts = finished.verdict.counts
    assert finished.verdict.verdict == "invalid"
    # Two of them, at most, were in a worker's hands, and it finished them.
    assert fault["hit"] - 2 <= counts["lost_by_redis"] == counts["lost"] <= fault["hit"]
    assert set(finished.verdict.lost) <= set(fault["entries"])
    assert len(fault["entries"]) == fault["hit"]


@pytest.mark.parametrize(("seconds", "size"), [(0.15, None), (None, 2500)])
def test_a_cut_append_only_file_loses_its_end(tmp_path: Path, seconds: float | None, size: int | None) -> None:
    """A power cut, simulated: entries that were confirmed to the producer are gone, the newest ones, and no other."""
    with SERVERS[0].opened("aof-everysec") as server:
        finished = run(server, tmp_path, CutAppendOnlyFile(at=0.12, seconds=seconds, size=size))
        assert_whole(server)
    (fault,) = struck(finished, "aof-cut")
    assert "simulated power cut" in fault["said"]
    assert fault["hit"] == size if size else fault["hit"] > 0
    assert fault["lost"] >= 1
    events = finished.history.events
    confirmed = events[(events["kind"] == "added") & (events["time"] < fault["end"])]
    assert finished.history.entries is not None
    lost = confirmed[~confirmed["entry"].isin(finished.history.entries["entry"])]
    assert len(lost) >= 1
    if seconds:
        assert lost["time"].min() > fault["start"] - 0.02, "what was written before is kept"
    assert finished.verdict.verdict == "invalid"
    assert finished.verdict.counts["lost_by_redis"] == finished.verdict.counts["lost"] >= 1


# Settings ------------------------------------------------------------------------------------------


def test_a_full_memory_refuses_and_is_large_again(mine: Server, tmp_path: Path) -> None:
    finished = run(mine, tmp_path, LimitMemory(at=0.1, seconds=0.2), workload=IDLE)
    (fault,) = struck(finished, "memory-limit")
    counts = finished.verdict.counts
    assert 1 <= counts["not_added"] < 60
    assert (counts["done"], counts["lost"]) == (60 - counts["not_added"], 0)
    assert fault["hit"] >= counts["not_added"] / 2, "jobs that were late went in one transaction"
    assert_whole(mine)


def test_a_setting_is_changed_and_set_back(mine: Server, tmp_path: Path) -> None:
    during = []

    def look(line: str) -> None:
        if "CONFIG SET" in line:
            with mine.client() as client:
                during.append(client.config_get("hz")["hz"])

    struck(valid(run(mine, tmp_path, SetConfig("hz", "50", at=0.1, seconds=0.2), say=look)), "config")
    assert during == ["50"]
    assert_whole(mine)


# Interrupted, and everywhere -----------------------------------------------------------------------


@pytest.mark.parametrize("word", ["SIGSTOP", "SIGKILL", "CLIENT PAUSE"])
def test_an_interrupted_run_leaves_redis_whole(mine: Server, tmp_path: Path, word: str) -> None:
    """Frozen, down or paused at the moment of Ctrl-C: it has to be back before its settings can be set back."""
    fault = {"SIGSTOP": FreezeRedis, "SIGKILL": RestartRedis, "CLIENT PAUSE": PauseClients}[word](at=0.15, seconds=60)
    settings = SetConfig("hz", "50", at=0.1, seconds=60), LimitMemory(at=0.1, seconds=60)
    interrupted(word, mine, tmp_path, fault, *(settings if word == "SIGSTOP" else ()))
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


@VERSIONS
def test_what_depends_on_the_version_works_on_every_version(at_hand: AtHand, tmp_path: Path) -> None:
    """All that asks a server something of its own: scripts, settings, lists of clients, the append-only file."""
    faults = (
        KillClients("all", at=0.05),
        SetID(at=0.1, to="0"),
        PauseClients(at=0.15, seconds=0.1),
        SleepRedis(at=0.3, seconds=0.1),
        DestroyGroup(at=0.5),
        LimitMemory(at=0.6, seconds=0.4),
        CutAppendOnlyFile(at=1.1, seconds=0.4),
    )
    with at_hand.opened("aof-everysec") as server:
        finished = run(server, tmp_path, *faults, workload=sl.Sleep(count=200, rate=100.0, seconds=0.01))
        assert_whole(server)
    connections, _, _, sleep, *_ = struck(finished, *(fault.kind for fault in faults))
    assert connections["hit"] >= 3, "two workers and a producer"
    assert sleep["end"] - sleep["start"] >= 0.1


# Refused -------------------------------------------------------------------------------------------


def test_somebody_elses_redis_is_left_alone(any_server: Server, tmp_path: Path) -> None:
    with ExternalServer(any_server.url) as guest:
        for fault in (fault for fault in EACH if isinstance(fault, RedisFault)):
            line = rf"{type(fault).__name__}: somebody else's Redis \(redis://:\*\*\*@.*\) is left alone: use --server"
            refused(guest, tmp_path, fault, line)


def test_what_this_redis_cannot_do(mine: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamlab.faults.redis._LONG_SCRIPT", "return '0'")  # as in Redis 7.2, which is not at hand
    for fault, line in (
        (SleepRedis(at=0.1, seconds=0.1), r"in Redis 8\.2\.\d+ the clock stands still for a script: use redis-freeze"),
        (SetConfig("no-such-setting", "1", at=0, seconds=1), "has no setting 'no-such-setting'"),
        (SetConfig("hz*", "1", at=0, seconds=1), "has no setting"),
        (SetConfig("databases", "1", at=0, seconds=1), "does not change 'databases' while it runs"),
        (CutAppendOnlyFile(at=0.1, size=100), "writes no append-only file: set persistence = 'aof-everysec'"),
    ):
        refused(mine, tmp_path, fault, line)
