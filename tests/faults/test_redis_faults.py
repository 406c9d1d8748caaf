"""Faults of Redis itself, in real runs: each really takes effect, it ends, and Redis is left as it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import streamlab as sl
from streamlab.errors import UnsupportedError, UsageError
from streamlab.faults import plan
from streamlab.faults.base import Stage
from streamlab.faults.loss import CutAppendOnlyFile, FlushAll, RestartRedis
from streamlab.faults.operator import DestroyGroup, SetID
from streamlab.faults.redis import FreezeRedis, KillClients, PauseClients, SleepRedis
from streamlab.faults.settings import LimitMemory, SetConfig
from streamlab.servers import ExternalServer, Server
from tests.at_hand import OWN_KINDS, SERVERS, AtHand
from tests.faults.redis_runs import Interrupt, run, struck, times

#: One of each version.
VERSIONS = pytest.mark.parametrize(
    "at_hand", [SERVERS[0], *(pytest.param(it, marks=pytest.mark.soak) for it in SERVERS[1:4])], ids=lambda it: it.id
)
CONTAINER = OWN_KINDS[1]

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


class Watched(KillClients):
    """Looks who is connected just before and just after: who loses a connection between two commands never notices."""

    def start(self, stage: Stage) -> dict[str, Any]:
        def there() -> dict[str, str]:
            rows: Any = stage.client.client_list()
            return {row["id"]: row["name"].rpartition("/")[2] for row in rows}

        before = there()
        facts = super().start(stage)
        closed = [before[number] for number in before.keys() - there()]
        return facts | {"connected": list(before.values()), "closed": closed}


def test_only_the_targets_connections_are_closed(mine: Server, tmp_path: Path) -> None:
    finished = run(mine, tmp_path, Watched("worker-1", at=0.2), workload=IDLE)
    (fault,) = struck(finished, "kill-clients")
    assert fault["target"] == "worker-1"
    assert set(fault["connected"]) >= {"worker-1", "worker-2", "producer"}
    assert fault["closed"] == ["worker-1"] * fault["hit"] == ["worker-1"] * fault["connected"].count("worker-1")
    assert finished.verdict.verdict == "valid", finished.verdict.reasons


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
    """Neither the workers nor the probe are served, and the lab, which is not either, ends it in time."""
    finished = run(mine, tmp_path, fault)
    (found,) = struck(finished, fault.kind)
    assert found["hit"] >= 3, "two workers and a producer"
    assert 0.45 < found["end"] - found["start"] < 2.0
    if fault.kind == "redis-sleep":
        assert found["slept"] >= 0.5
    assert times(finished, "added", found) == []
    assert times(finished, "acked", found) == []
    reading = isinstance(fault, PauseClients) and fault.mode == "WRITE"
    assert bool(times(finished, "samples", found)) == reading, "a gap in the samples, never a made-up value"
    assert finished.verdict.verdict == "valid", finished.verdict.reasons


def test_nothing_else_begins_while_redis_stands_still(
    mine: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was due meanwhile has all its patience left to hit something, and the standstill lasts no longer for it."""
    monkeypatch.setattr(plan, "_PATIENCE", 0.3)
    finished = run(mine, tmp_path, FreezeRedis(at=0.1, seconds=0.8), sl.Kill("worker-1", at=0.2), claim_after=1.0)
    freeze, kill = sorted(finished.history.faults.to_dict("records"), key=lambda row: str(row["fault"]), reverse=True)
    assert freeze["end"] - freeze["start"] == pytest.approx(0.8, abs=0.4)
    assert kill["start"] > freeze["end"] - 0.02
    assert kill["held"] >= 1
    assert finished.verdict.verdict == "valid", finished.verdict.reasons


# Losing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("persistence", "how", "loses"),
    [
        ("none", "KILL", True),
        ("none", "TERM", True),
        ("rdb", "KILL", True),
        ("rdb", "TERM", False),
        ("aof-always", "KILL", False),
        ("aof-always", "TERM", False),
        ("aof-everysec", "KILL", False),
        ("aof-everysec", "TERM", False),
        ("aof-no", "KILL", False),  # SIGKILL is no power cut: what was written is the kernel's
        ("aof-no", "TERM", False),
    ],
)
def test_what_a_restart_loses(tmp_path: Path, persistence: str, how: str, loses: bool) -> None:
    with SERVERS[0].opened(persistence) as server:  # type: ignore[arg-type]
        finished = run(server, tmp_path, RestartRedis(at=0.15, how=how, seconds=0.2))
        assert_whole(server)
    (fault,) = struck(finished, "redis-restart")
    assert (fault["how"], fault["persistence"]) == (how, persistence)
    assert fault["length"] > 0
    assert fault["lost"] == (fault["length"] if loses else 0)
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
    with CONTAINER.opened("aof-everysec") as server:
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
    assert len(fault["entries"]) == fault["hit"] <= fault["length"]


@pytest.mark.parametrize(("seconds", "size"), [(0.15, None), (None, 2500)])
def test_a_cut_append_only_file_loses_its_end(tmp_path: Path, seconds: float | None, size: int | None) -> None:
    """A power cut, simulated: entries that were confirmed to the producer are gone, the newest ones, and no other."""
    with SERVERS[0].opened("aof-everysec") as server:
        finished = run(server, tmp_path, CutAppendOnlyFile(at=0.12, seconds=seconds, size=size))
        assert_whole(server)
    (fault,) = struck(finished, "aof-cut")
    assert fault["simulated"] == "power cut"
    assert fault["hit"] == size if size else fault["hit"] > 0
    assert 1 <= fault["lost"] < fault["length"]
    events = finished.history.events
    confirmed = events[(events["kind"] == "added") & (events["time"] < fault["end"])]
    assert finished.history.entries is not None
    lost = confirmed[~confirmed["entry"].isin(finished.history.entries["entry"])]
    assert len(lost) >= 1
    if seconds:
        assert lost["time"].min() > fault["start"] - 0.02, "what was written before is kept"
    assert finished.verdict.verdict == "invalid"
    assert finished.verdict.counts["lost_by_redis"] == finished.verdict.counts["lost"] >= 1


def test_without_an_append_only_file_there_is_nothing_to_cut(mine: Server, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="writes no append-only file: set persistence = 'aof-everysec'"):
        run(mine, tmp_path, CutAppendOnlyFile(at=0.1, size=100))


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

    finished = run(mine, tmp_path, SetConfig("hz", "50", at=0.1, seconds=0.2), say=look)
    (fault,) = struck(finished, "config")
    assert (fault["setting"], fault["before"], fault["value"], during) == ("hz", "10", "50", ["50"])
    assert finished.verdict.verdict == "valid", finished.verdict.reasons
    assert_whole(mine)


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        (SetConfig("no-such-setting", "1", at=0, seconds=1), "has no setting 'no-such-setting'"),
        (SetConfig("hz*", "1", at=0, seconds=1), "has no setting"),
        (SetConfig("databases", "1", at=0, seconds=1), "does not change 'databases' while it runs"),
    ],
)
def test_settings_that_cannot_be_changed(mine: Server, tmp_path: Path, fault: sl.faults.Fault, line: str) -> None:
    with pytest.raises(UnsupportedError, match=line):
        run(mine, tmp_path, fault)


# Interrupted, and everywhere -----------------------------------------------------------------------


def test_an_interrupted_run_leaves_redis_whole(mine: Server, tmp_path: Path) -> None:
    """Frozen at the moment of Ctrl-C: it has to be thawed before its settings can be set back."""
    Interrupt("SIGSTOP").stops(
        mine,
        tmp_path,
        SetConfig("hz", "50", at=0.1, seconds=60),
        LimitMemory(at=0.1, seconds=60),
        FreezeRedis(at=0.15, seconds=60),
    )
    assert_whole(mine)


@pytest.mark.parametrize(
    ("fault", "word"),
    [(RestartRedis(at=0.1, seconds=60), "SIGKILL"), (PauseClients(at=0.1, seconds=60), "CLIENT PAUSE")],
    ids=["down", "paused"],
)
def test_interrupted_while_nobody_answers(mine: Server, tmp_path: Path, fault: sl.faults.Fault, word: str) -> None:
    Interrupt(word).stops(mine, tmp_path, fault)
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
    with at_hand.opened("aof-everysec") as server:
        finished = run(
            server,
            tmp_path,
            KillClients("all", at=0.05),
            SetID(at=0.1, to="0"),
            PauseClients(at=0.15, seconds=0.1),
            SleepRedis(at=0.3, seconds=0.1),
            DestroyGroup(at=0.5),
            LimitMemory(at=0.6, seconds=0.4),
            CutAppendOnlyFile(at=1.1, seconds=0.4),
            workload=sl.Sleep(count=200, rate=100.0, seconds=0.01),
        )
        assert_whole(server)
    kinds = "kill-clients set-id pause-clients redis-sleep destroy-group memory-limit aof-cut"
    connections, _, _, sleep, _, _, cut = struck(finished, *kinds.split())
    assert connections["hit"] >= 3, "two workers and a producer"
    assert sleep["slept"] >= 0.1
    assert 0 <= cut["lost"] < cut["length"]


# Refused -------------------------------------------------------------------------------------------

EACH = [
    KillClients("worker-1", at=0),
    PauseClients(at=0, seconds=1),
    SleepRedis(at=0, seconds=1),
    FreezeRedis(at=0, seconds=1),
    RestartRedis(at=0),
    FlushAll(at=0),
    LimitMemory(at=0, seconds=1),
    CutAppendOnlyFile(at=0, size=1),
    SetConfig("hz", "50", at=0, seconds=1),
]


@pytest.mark.parametrize("fault", EACH, ids=lambda fault: fault.kind)
def test_somebody_elses_redis_is_left_alone(any_server: Server, tmp_path: Path, fault: sl.faults.Fault) -> None:
    with ExternalServer(any_server.url) as guest:
        line = rf"fault '{fault.kind}': somebody else's Redis \(redis://:\*\*\*@.*\) is never .*: use --server process"
        with pytest.raises(UnsupportedError, match=line) as caught:
            run(guest, tmp_path, fault)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "experiment.toml").exists(), "refused before anything was begun"


def test_a_redis_whose_clock_stands_still_for_a_script_cannot_be_kept_busy(
    mine: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Redis 7.2's does, which is not at hand."""
    monkeypatch.setattr("streamlab.faults.redis._LONG_SCRIPT", "return '0'")
    with pytest.raises(
        UnsupportedError, match=r"in Redis 8\.2\.\d+ the clock stands still for a script: use redis-freeze"
    ):
        run(mine, tmp_path, SleepRedis(at=0.1, seconds=0.1))
    assert not (tmp_path / "run" / "experiment.toml").exists(), "refused before anything was begun"


@pytest.mark.parametrize("fault", EACH, ids=lambda fault: fault.kind)
def test_a_fault_is_data(fault: sl.faults.Fault) -> None:
    from streamlab.faults.base import from_table

    table = json.loads(json.dumps(fault.table()))
    assert from_table(table, {fault.kind: type(fault)}) == fault
    assert fault.said({"target": "", "hit": 1, "length": 1, "persistence": "none", "limit": 1, "before": 1, "value": 1})


@pytest.mark.parametrize(
    "fault",
    [
        lambda: PauseClients(at=1, seconds=0),
        lambda: PauseClients(at=1, seconds=1, mode="READ"),
        lambda: PauseClients(at=1, seconds=1, mode=["ALL"]),  # type: ignore[arg-type]
        lambda: SleepRedis(at=1, seconds=5),
        lambda: FreezeRedis(at=-1, seconds=1),
        lambda: RestartRedis(at=1, how="INT"),
        lambda: RestartRedis(at=1, seconds=-1),
        lambda: LimitMemory(at=1, seconds=1, spare=-1),
        lambda: LimitMemory(at=1, seconds=float("inf")),
        lambda: CutAppendOnlyFile(at=1),
        lambda: CutAppendOnlyFile(at=1, seconds=1, size=1),
        lambda: CutAppendOnlyFile(at=1, size=1.5),  # type: ignore[arg-type]
        lambda: SetConfig("hz", 50, at=1, seconds=1),  # type: ignore[arg-type]
        lambda: SetConfig("requirepass", "x", at=1, seconds=1),
        lambda: SetConfig("hz", "50", at=1, seconds=0),
    ],
)
def test_settings_that_cannot_be_meant(fault: object) -> None:
    with pytest.raises(UsageError, match=r"^fault '"):
        fault()  # type: ignore[operator]


def test_a_target_that_is_nobody(mine: Server, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no worker is called 'worker-9'"):
        run(mine, tmp_path, KillClients("worker-9", at=0))
