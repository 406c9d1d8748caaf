"""Faults of the operator: what they take away is what the history says, and what is lost for it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

import streamlab as sl
from streamlab.faults import Delete, DeleteConsumer, DestroyGroup, SetID, Trim, TwinWorker
from streamlab.history.fault_record import FaultRecord
from streamlab.servers import ExternalServer, Server
from tests.faults.runs import run, striking, struck, valid

# On a stream whose workers are no processes --------------------------------------------------------


@pytest.fixture
def ids(direct: Any, context: Any) -> list[str]:
    """Ten entries: 1 is acknowledged, 2 and 3 are pending for worker-1, 4 for worker-2, the others are unread."""
    stream, group = context.stream, context.group
    ids = [direct.xadd(stream, {"job": job}, id=f"1-{job}") for job in range(1, 11)]
    direct.xgroup_create(stream, group, id="0")
    for worker, count in (("worker-1", 3), ("worker-2", 1)):
        direct.xreadgroup(group, worker, {stream: ">"}, count=count)
    direct.xack(stream, group, ids[0])
    return ids


@pytest.mark.parametrize(("keep", "gone", "unfinished"), [(None, 2, 1), (4, 6, 5), (0, 10, 9)])
def test_trimming_reaches_what_is_unfinished(
    context: Any, direct: Any, ids: list[str], keep: int | None, gone: int, unfinished: int
) -> None:
    """Without `keep` only the oldest pending entry goes, with all before it."""
    assert Trim(at=1, keep=keep).ready(context, FaultRecord(fault="trim"))
    with striking(Trim(at=1, keep=keep), context) as record:
        assert (record.hit, record.entries, record.below) == (unfinished, ids[1:gone], f"1-{gone + 1}")
        assert [entry for entry, _ in direct.xrange(context.stream)] == ids[gone:]
    assert not Trim(at=1, keep=10).ready(context, FaultRecord(fault="trim")), "there is nothing to cut"


def test_deleting_takes_the_oldest_pending_ones_that_are_there(context: Any, direct: Any, ids: list[str]) -> None:
    direct.xdel(context.stream, ids[1])
    assert not Delete("worker-1", at=1, count=2).ready(context, FaultRecord(fault="delete"))
    for target, entries in (("worker-2", ids[3:4]), ("all", ids[2:3])):
        with striking(Delete(target, at=1), context) as record:
            assert (record.hit, record.entries) == (1, entries)
    assert [entry for entry, _ in direct.xrange(context.stream)] == [ids[0], *ids[4:]]


def test_a_cursor_is_moved(context: Any, direct: Any, ids: list[str]) -> None:
    with striking(SetID(at=1, to="$"), context) as record:
        assert (record.hit, record.skipped) == (6, ids[4:])
    assert not SetID(at=1).ready(context, FaultRecord(fault="set-id")), "nothing is left to be skipped"
    with striking(SetID(at=1, to="0"), context) as record:
        assert (record.hit, record.skipped) == (10, [])
    assert len(direct.xreadgroup(context.group, "c", {context.stream: ">"})[0][1]) == 10


# In real runs --------------------------------------------------------------------------------------


def events(finished: sl.Run, kind: str) -> Any:
    """The entries of all events of this kind."""
    it = finished.history.events
    return set(it.loc[it["kind"] == kind, "entry"])


def test_what_a_dead_worker_held_and_what_nobody_read_can_be_lost(any_server: Server, tmp_path: Path) -> None:
    """Trimmed, deleted, discarded with its consumer, or skipped; and each loss says where it was."""
    faults = (
        sl.Kill("worker-1", at=0.1, holding=3),
        Trim(at=0.15),
        Delete("worker-1", at=0.15),
        DeleteConsumer("worker-1", at=0.15),
        SetID(at=0.2),
    )
    workload = sl.Sleep(count=40, rate=200.0, seconds=0.05)
    finished = run(any_server, tmp_path, *faults, workload=workload, threads=3, claim_after=3.0)
    kill, trim, delete, discard, skip = struck(finished)
    done, verdict = events(finished, "done"), finished.verdict
    assert (trim["hit"], delete["hit"]) == (1, 1)
    assert discard["hit"] >= kill["held"] - 1
    removed, skipped = trim["entries"] + delete["entries"], set(skip["skipped"])
    discarded = set(discard["entries"]) - set(removed)
    assert verdict.verdict == "invalid"
    assert set(verdict.lost_removed) == set(removed) - done, "the kill may fall between the effect and the XACK"
    assert set(verdict.lost_discarded) == discarded - done
    assert set(verdict.lost_skipped) == skipped != set()
    assert set(verdict.lost) == {*removed, *discarded, *skipped} - done


def test_what_a_worker_has_in_flight_it_finishes(any_server: Server, tmp_path: Path) -> None:
    """Also when its entry is deleted, and its consumer, which is made anew by its next read."""
    faults = Delete(at=0.1, count=2), DeleteConsumer("all", at=0.12)
    finished = valid(run(any_server, tmp_path, *faults, threads=2))
    delete, discard = struck(finished)
    assert delete["hit"] == len(delete["entries"]) == 2
    assert discard["hit"] == len(discard["entries"])
    it = finished.history.events
    readers = it.loc[(it["kind"] == "read") & (it["time"] > discard["end"]), "process"]
    assert set(readers) == {"worker-1", "worker-2"}


def test_a_group_that_is_destroyed_is_made_again(any_server: Server, tmp_path: Path) -> None:
    finished = valid(run(any_server, tmp_path, DestroyGroup(at=0.15)))
    (fault,) = struck(finished)
    assert len(fault["entries"]) == fault["hit"]
    assert events(finished, "healed")
    assert finished.verdict.counts["done_twice"] >= 1, "from the beginning: nobody knows what was done"


def test_two_workers_of_one_name(any_server: Server, tmp_path: Path) -> None:
    """They share a pending entries list, and nobody sees that they are two; in the end the second is killed."""
    there = tmp_path / "run" / "events" / "worker-1-twin.1.csv"

    def handler(message: object) -> None:
        while not there.exists():
            time.sleep(0.01)
        time.sleep(0.02)

    # The others hold ten while they wait: the rest is there for the twin to read.
    workload = sl.Call(handler, count=80, rate=200.0)
    twin = TwinWorker("worker-1", at=0.0, seconds=1.2)
    finished = valid(run(any_server, tmp_path, twin, workload=workload, batch=5))
    (fault,) = struck(finished)
    assert fault["started"] == ["worker-1-twin"]
    it = finished.history.events
    # The twin begins with what is pending under its name: the other's. That may be all it ever gets.
    assert set(it.loc[it["kind"].isin(["read", "own"]), "process"]) == {"worker-1", "worker-1-twin", "worker-2"}
    assert set(finished.history.samples["consumer"]) - {""} == {"worker-1", "worker-2"}
    assert set(finished.verdict.done_twice) <= set(finished.verdict.redelivered)
    (end,) = it.loc[it["note"] == "worker-1-twin: killed", "time"]
    assert fault["start"] + 1.1 < end <= fault["end"]


# Whose Redis it is ---------------------------------------------------------------------------------


def test_on_somebody_elses_redis_only_our_own_stream_is_touched(any_server: Server, tmp_path: Path) -> None:
    with any_server.client() as client, ExternalServer(any_server.url) as guest:
        client.xadd(f"{any_server.prefix}theirs", {"n": 1})
        client.xgroup_create(f"{any_server.prefix}theirs", "workers", id="0")
        before = client.xinfo_stream(f"{any_server.prefix}theirs", full=True)
        faults = Trim(at=0.1), Delete(at=0.13), DeleteConsumer("one", at=0.16), DestroyGroup(at=0.2), SetID(at=0.5)
        finished = run(guest, tmp_path, *faults, workload=sl.Sleep(count=60, rate=300.0, seconds=0.1), threads=4)
        after = client.xinfo_stream(f"{any_server.prefix}theirs", full=True)
        client.delete(f"{any_server.prefix}theirs")
    struck(finished)
    assert after == before
