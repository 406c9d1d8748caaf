"""Who held which entry from when to when, and how it ended."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.histories import Story, healthy


def zombie(folder: Path) -> Story:
    """worker-1 is paused with job 0; worker-2 claims it and does it; worker-1 wakes up and does it too."""
    story = Story(folder).add(0, 0.1).work(0, "worker-1", 0.2, "read started")
    story.work(0, "worker-2", 1.2, "claimed started done acked", deliveries=2)
    return story.work(0, "worker-1", 1.5, "done acked").end()


def test_a_delivery_ends_with_the_ack(tmp_path: Path) -> None:
    found = healthy(tmp_path, jobs=3).load().deliveries
    assert found["process"].tolist() == ["worker-1", "worker-2", "worker-1"]
    assert found["start"].tolist() == pytest.approx([0.01, 0.11, 0.21])
    assert found["end"].tolist() == pytest.approx([0.04, 0.14, 0.24])
    assert found["done"].tolist() == pytest.approx([0.03, 0.13, 0.23])
    assert found["job"].tolist() == [0, 1, 2]
    assert not found["again"].any()
    assert (found["claimed_from"] == -1).all()


def test_a_claim_ends_a_delivery_and_a_zombie_goes_on_talking(tmp_path: Path) -> None:
    first, second = zombie(tmp_path).load().deliveries.to_dict("records")
    assert (first["end"], first["done"], first["last"]) == pytest.approx((1.2, 1.5, 1.51))
    assert (second["start"], second["end"], second["done"]) == pytest.approx((1.2, 1.23, 1.22))
    assert (first["again"], second["again"], second["reclaimed"]) == (False, True, True)
    assert (first["claimed_from"], second["claimed_from"]) == (-1, 0)


def test_who_reads_too_late_holds_nothing(tmp_path: Path) -> None:
    """Redis delivered it to the frozen worker-1, which reads the reply when worker-2 has long had the entry."""
    story = Story(tmp_path).add(0, 0.1).work(0, "worker-2", 1.0, "claimed started", deliveries=2)
    story.work(0, "worker-1", 1.5, "read started done acked", deliveries=1)
    story.work(0, "worker-2", 1.6, "done acked", deliveries=2)
    claimed, late = story.end().load().deliveries.to_dict("records")
    assert (late["process"], late["start"], late["end"]) == ("worker-1", 1.5, 1.5)
    assert (late["again"], late["last"]) == (False, pytest.approx(1.53))
    assert (claimed["end"], claimed["claimed_from"]) == (pytest.approx(1.53), 1), "the ack is an ack, whoever sends it"


def test_a_restarted_worker_takes_up_its_own(tmp_path: Path) -> None:
    story = Story(tmp_path).add(0, 0.1).work(0, "worker-1", 0.2, "read started")
    first, own = (
        story.work(0, "worker-1", 1.0, "own done acked", incarnation=2).end().load().deliveries.to_dict("records")
    )
    assert (first["incarnation"], first["end"]) == (1, 1.0)
    assert (own["incarnation"], own["again"], own["claimed_from"]) == (2, True, -1), "no arrow from a lane to itself"


def test_the_wire_tells_an_ack_whose_reply_was_slow_or_cut(tmp_path: Path) -> None:
    """The entry was nobody else's meanwhile: who waits for the reply to its XACK is no zombie."""
    for reply, last in (("", 0.22), ("acked", 0.5)):
        story = Story(tmp_path / f"reply {reply}").add(0, 0.1).work(0, "worker-1", 0.2, "read started done")
        history = story.wire("acked", 0.5, 0).work(0, "worker-1", 0.8, reply).load()
        (one,) = history.deliveries.to_dict("records")
        assert (one["end"], one["last"]) == (0.5, last)


def test_what_ends_a_delivery(tmp_path: Path) -> None:
    story = Story(tmp_path)
    for job, last in enumerate(("acked", "dead", "deleted", "wire_acked", "disowned", "failed", "retry")):
        story.add(job, 0.1).work(job, "worker-1", 0.2, f"read {last}")
    assert np.isnan(story.load().deliveries["end"]).tolist() == [False] * 5 + [True] * 2


def test_each_event_knows_the_delivery_in_force(tmp_path: Path) -> None:
    """Whoever writes; an event before the first delivery, or about no entry, knows none."""
    history = zombie(tmp_path).load()
    kinds = ["adding", "added", "read", "started", "claimed", "started", "done", "acked", "done", "acked"]
    assert history.events["kind"].tolist() == kinds
    assert history.in_force.tolist()[2:] == [0, 0, 1, 1, 1, 1, 1, 1]
    assert history.in_force[0] == -1
    assert history.events["kind"].iloc[history.deliveries["event"]].tolist() == ["read", "claimed"]
    assert Story(tmp_path / "other").event("read", "worker-1", 0.1).load().deliveries.empty, "it is about no entry"
