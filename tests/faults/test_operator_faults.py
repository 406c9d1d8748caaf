"""Faults of the operator, in real runs: what they take away is what the history says, and what is lost for it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import streamlab as sl
from streamlab.faults import Delete, DeleteConsumer, DestroyGroup, SetID, Trim, TwinWorker
from streamlab.servers import ExternalServer, Server
from tests.faults.runs import refused, run, struck, valid

#: What it held stays pending, for nobody, until it is claimed.
DEAD = sl.Kill("worker-1", at=0.1)
GUARANTEE = ("lost", "stuck", "unexpected")


def kept(finished: sl.Run) -> set[str]:
    """What the stream held in the end."""
    assert finished.history.entries is not None
    return set(finished.history.entries["entry"])


def undone(finished: sl.Run, fault: dict[str, Any]) -> list[str]:
    """Of what was taken away, what nobody had done: the kill may fall between the effect and the XACK."""
    events = finished.history.events
    done = set(events.loc[events["kind"] == "done", "entry"])
    return [entry for entry in fault["entries"] if entry not in done]


def test_trimming_takes_the_oldest_pending_entry_and_all_before_it(any_server: Server, tmp_path: Path) -> None:
    finished = run(any_server, tmp_path, DEAD, Trim(at=0.2))
    _, fault = struck(finished, "kill", "trim")
    (entry,) = fault["entries"]
    assert fault["hit"] == 1
    assert fault["below"] == f"{entry[:-1]}{int(entry[-1]) + 1}"
    events = finished.history.events
    added = [str(entry) for entry in events.loc[events["kind"] == "added", "entry"]]  # in the order of the stream
    assert kept(finished) == set(added[added.index(entry) + 1 :])
    assert finished.verdict.lost == undone(finished, fault), "its worker was dead, and nobody else could read it"
    assert finished.verdict.lost_removed == finished.verdict.lost
    assert entry in set(events.loc[events["kind"] == "deleted", "entry"])


def test_trimming_to_a_length_takes_what_nobody_has_read(any_server: Server, tmp_path: Path) -> None:
    finished = run(any_server, tmp_path, Trim(at=0.15, keep=3))
    (fault,) = struck(finished, "trim")
    assert not kept(finished) & set(fault["entries"])
    counts = finished.verdict.counts
    assert finished.verdict.verdict == "invalid"
    # Two of them, at most, were in a worker's hands, and it finished them.
    assert fault["hit"] - 2 <= counts["lost"] == counts["lost_removed"] <= fault["hit"]
    assert set(finished.verdict.lost) <= set(fault["entries"])


def test_deleting_what_a_dead_worker_held_loses_it(any_server: Server, tmp_path: Path) -> None:
    finished = run(any_server, tmp_path, DEAD, Delete("worker-1", at=0.1))
    _, fault = struck(finished, "kill", "delete")
    assert fault["hit"] == 1
    assert finished.verdict.lost == finished.verdict.lost_removed == undone(finished, fault)


def test_deleting_what_a_worker_has_in_hand_loses_nothing(any_server: Server, tmp_path: Path) -> None:
    """Of the oldest pending ones, whoever holds them."""
    finished = valid(run(any_server, tmp_path, Delete(at=0.1, count=2), threads=2))
    (fault,) = struck(finished, "delete")
    assert fault["hit"] == len(fault["entries"]) == 2
    assert not kept(finished) & set(fault["entries"])


def test_a_cursor_that_is_moved_forward_skips(any_server: Server, tmp_path: Path) -> None:
    finished = run(any_server, tmp_path, SetID(at=0.15))
    (fault,) = struck(finished, "set-id")
    assert finished.verdict.verdict == "invalid"
    assert finished.verdict.counts["lost_skipped"] == fault["hit"] == len(fault["skipped"])
    assert finished.verdict.lost == fault["skipped"]
    assert kept(finished) >= set(fault["skipped"])


def test_a_group_that_is_destroyed_is_made_again(any_server: Server, tmp_path: Path) -> None:
    finished = valid(run(any_server, tmp_path, DestroyGroup(at=0.15)))
    (fault,) = struck(finished, "destroy-group")
    assert len(fault["entries"]) == fault["hit"]
    events = finished.history.events
    assert (events["kind"] == "healed").any()
    assert finished.verdict.counts["done_twice"] >= 1, "from the beginning: nobody knows what was done"


def test_deleting_a_consumer_discards_what_was_pending(any_server: Server, tmp_path: Path) -> None:
    finished = run(any_server, tmp_path, DEAD, DeleteConsumer("worker-1", at=0.1), threads=2)
    _, fault = struck(finished, "kill", "delete-consumer")
    assert finished.verdict.lost == finished.verdict.lost_discarded == undone(finished, fault)
    assert kept(finished) >= set(finished.verdict.lost)


def test_deleting_a_consumer_that_lives(any_server: Server, tmp_path: Path) -> None:
    """What it had in its hands it finishes; it is made anew by its next read."""
    finished = run(any_server, tmp_path, DeleteConsumer("all", at=0.1))
    (fault,) = struck(finished, "delete-consumer")
    assert fault["hit"] == len(fault["entries"])
    events = finished.history.events
    assert set(events.loc[(events["kind"] == "read") & (events["time"] > fault["end"]), "process"]) == {
        "worker-1",
        "worker-2",
    }
    assert not any(finished.verdict.counts[name] for name in GUARANTEE), finished.verdict


def test_two_workers_of_one_name(any_server: Server, tmp_path: Path) -> None:
    """They share a pending entries list, and nobody sees that they are two."""
    there = tmp_path / "run" / "events" / "worker-1-twin.1.csv"

    def handler(message: object) -> None:
        while not there.exists():
            time.sleep(0.01)
        time.sleep(0.02)

    # The others hold ten while they wait: the rest is there for the twin to read.
    workload = sl.Call(handler, count=60, rate=200.0)
    finished = valid(run(any_server, tmp_path, TwinWorker("worker-1", at=0.0), workload=workload, batch=5))
    (fault,) = struck(finished, "twin")
    assert fault["started"] == ["worker-1-twin"]
    events = finished.history.events
    # The twin begins with what is pending under its name: the other's. That may be all it ever gets.
    got = events[events["kind"].isin(["read", "own"])]
    assert set(got["process"]) == {"worker-1", "worker-1-twin", "worker-2"}
    assert set(finished.history.samples["consumer"]) - {""} == {"worker-1", "worker-2"}


def test_a_twin_is_killed_in_the_end(any_server: Server, tmp_path: Path) -> None:
    faults = TwinWorker("worker-1", at=0.0, seconds=2.0), SetID(at=0.15, to="0")
    finished = valid(run(any_server, tmp_path, *faults, workload=sl.Sleep(count=300, rate=100.0, seconds=0.01)))
    twin, _ = struck(finished, "twin", "set-id")
    events = finished.history.events
    (end,) = events.loc[events["note"] == "worker-1-twin: killed", "time"]
    assert twin["start"] + 1.9 < end <= twin["end"]
    # The cursor was moved back to the beginning, and a twin that comes late begins with what the other has in hand.
    assert finished.verdict.done_twice
    assert set(finished.verdict.done_twice) <= set(finished.verdict.redelivered)


# Whose Redis it is ---------------------------------------------------------------------------------


def test_on_somebody_elses_redis_only_our_own_stream_is_touched(any_server: Server, tmp_path: Path) -> None:
    with any_server.client() as client, ExternalServer(any_server.url) as guest:
        client.xadd(f"{any_server.prefix}theirs", {"n": 1})
        client.xgroup_create(f"{any_server.prefix}theirs", "workers", id="0")
        before = client.xinfo_stream(f"{any_server.prefix}theirs", full=True)
        faults = Trim(at=0.1), Delete(at=0.13), DeleteConsumer("one", at=0.16), DestroyGroup(at=0.2), SetID(at=0.6)
        finished = run(guest, tmp_path, *faults, workload=sl.Sleep(count=60, rate=300.0, seconds=0.1))
        after = client.xinfo_stream(f"{any_server.prefix}theirs", full=True)
        client.delete(f"{any_server.prefix}theirs")
    struck(finished, *(fault.kind for fault in faults))
    assert after == before


def test_what_its_owner_does_not_allow_is_refused_beforehand(any_server: Server, tmp_path: Path) -> None:
    place = any_server.url.partition("@")[2]
    rights = ("ACL", "SETUSER", "guest", "on", ">secret", "~*", "&*", "+@all")
    for fault, command in (
        (Trim(at=0), "xtrim"),
        (Delete(at=0), "xdel"),
        (SetID(at=0), "xgroup|setid"),
        (DestroyGroup(at=0), "xgroup|destroy"),
        (DeleteConsumer("one", at=0), "xgroup|delconsumer"),
    ):
        with any_server.client() as admin:
            admin.execute_command(*rights, f"-{command}")  # type: ignore[no-untyped-call]
            try:
                with ExternalServer(f"redis://guest:secret@{place}") as guest:
                    line = (
                        f"{type(fault).__name__}: external, .* refuses {command.partition('|')[0].upper()} .*: use --"
                    )
                    assert "secret" not in refused(guest, tmp_path, fault, line)
            finally:
                admin.execute_command("ACL", "DELUSER", "guest")  # type: ignore[no-untyped-call]
