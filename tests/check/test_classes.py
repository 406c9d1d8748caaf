"""Each class beyond the fates: caught where it was planted, and not where its twin was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamlab.check import definitions, judge
from streamlab.check.classes import CLASSES
from streamlab.check.facts import FATES
from streamlab.check.losses import PLACES
from tests.check.test_judge import PLANTED, E, planted
from tests.histories import Story

Plant = Callable[[Story], Story]
OK = "started done acked"


def read(story: Story, kinds: str = "read", at: float = 0.6) -> Story:
    """Job 7 is added, and worker-1 has it."""
    return story.add(7, 0.5).work(7, "worker-1", at, kinds)


# name: the experiment, the story (beside two jobs that went well), and the whole evidence that it leaves
PLACED: dict[str, tuple[dict[str, Any], Plant, dict[str, list[str]]]] = {
    "by Redis: added, and gone": ({}, lambda s: s.add(7, 0.5).holds(0, 1).end(), {"lost_by_redis": [E(7)]}),
    "by Redis: read, and gone": ({}, lambda s: read(s).holds(0, 1).end(), {"lost_by_redis": [E(7)]}),
    "by Redis: somebody else's worker, and FLUSHALL": (
        {"worker": "loops:mine"},
        lambda s: read(s).fault("flushall", "", 0.7, 0.7, family="redis", entries=[E(7)], hit=1).holds().end(),
        {"lost_by_redis": [E(7)]},
    ),
    "by Redis: not by an operator who removed another": (
        {},
        lambda s: read(s).fault("delete", "all", 0.7, 0.7, family="operator", entries=[E(6)], hit=1).holds(0, 1).end(),
        {"lost_by_redis": [E(7)]},
    ),
    "by Redis: not by an operator who trimmed before it came": (
        {},
        lambda s: read(s).fault("trim", "", 0.7, 0.7, family="operator", entries=[], hit=7, below=E(7)).holds().end(),
        {"lost_by_redis": [E(7)]},
    ),
    "by Redis: somebody else's producer, and a restart that lost something": (
        {"producer": "loops:mine"},
        lambda s: (
            read(s)
            .fault("redis-restart", "", 0.7, 0.8, family="redis", hit=3, off={"lost": 3, "entries": []})
            .holds()
            .end()
        ),
        {"lost_by_redis": [E(7)]},
    ),
    "unexplained: somebody else's worker may have deleted it": (
        {"worker": "loops:mine"},
        lambda s: read(s).fault("flushall", "", 0.1, 0.2, family="redis", entries=[E(0)], hit=1).holds(0, 1).end(),
        {"lost_unexplained": [E(7)]},
    ),
    "unexplained: Redis stood still, and lost nothing": (
        {"worker": "loops:mine"},
        lambda s: read(s).fault("redis-freeze", "", 0.7, 0.8, family="redis", hit=3).holds(0, 1).end(),
        {"lost_unexplained": [E(7)]},
    ),
    "unexplained: somebody else's producer may have trimmed it": (
        {"producer": "loops:mine"},
        lambda s: read(s).holds(0, 1).end(),
        {"lost_unexplained": [E(7)]},
    ),
    "unexplained: nobody looked at the stream": ({}, lambda s: read(s).end(), {"lost_unexplained": [E(7)]}),
    "removed: listed": (
        {},
        lambda s: read(s).fault("delete", "all", 0.7, 0.7, family="operator", entries=[E(7)], hit=1).holds(0, 1).end(),
        {"lost_removed": [E(7)]},
    ),
    "removed: below": (
        {},
        lambda s: read(s).fault("trim", "", 0.7, 0.7, family="operator", entries=[], hit=8, below=E(8)).holds().end(),
        {"lost_removed": [E(7)]},
    ),
    "removed: of more than the list has": (
        {},
        lambda s: read(s).fault("delete", "all", 0.7, 0.7, family="operator", entries=[E(1)], hit=2).holds(0).end(),
        {"lost_removed": [E(7)]},
    ),
    "by Redis: added after an operator removed more than the list has": (
        {},
        lambda s: read(s).fault("delete", "all", 0.4, 0.4, family="operator", entries=[E(1)], hit=2).holds(0).end(),
        {"lost_by_redis": [E(7)]},
    ),
    "removed: found deleted": ({}, lambda s: read(s, "read deleted").holds(0, 1).end(), {"lost_removed": [E(7)]}),
    "removed: and acknowledged when it was gone": (
        {"worker": "loops:mine"},
        lambda s: (
            read(s)
            .fault("delete", "all", 0.7, 0.7, family="operator", entries=[E(7)], hit=1)
            .event("acked", "worker-1", 0.8, 7)
            .holds(0, 1)
            .end()
        ),
        {"lost_removed": [E(7)]},
    ),
    "acked: before done": ({}, lambda s: read(s, "read acked").holds(0, 1, 7).end(), {"lost_acked": [E(7)]}),
    "acked: only the wire saw it": (
        {},
        lambda s: read(s).wire("acked", 0.7, 7).holds(0, 1, 7).end(),
        {"lost_acked": [E(7)]},
    ),
    "acked: and deleted later": (
        {},
        lambda s: (
            read(s, "read acked")
            .fault("delete", "all", 0.7, 0.7, family="operator", entries=[E(7)], hit=1)
            .holds()
            .end()
        ),
        {"lost_acked": [E(7)]},
    ),
    "discarded: with its consumer": (
        {},
        lambda s: (
            read(s)
            .fault("delete-consumer", "worker-1", 0.7, 0.7, family="operator", entries=[E(7)])
            .holds(0, 1, 7)
            .end()
        ),
        {"lost_discarded": [E(7)]},
    ),
    "discarded: and its reader did not live to write that it had it": (
        {},
        lambda s: (
            s.add(7, 0.5)
            .fault("delete-consumer", "worker-1", 0.7, 0.7, family="operator", entries=[E(7)])
            .holds(0, 1, 7)
            .end()
        ),
        {"lost_discarded": [E(7)]},
    ),
    "discarded: nothing says how": ({}, lambda s: read(s).holds(0, 1, 7).end(), {"lost_discarded": [E(7)]}),
    "discarded: only the wire saw the delivery": (
        {},
        lambda s: s.add(7, 0.5).wire("delivered", 0.6, 7).holds(0, 1, 7).end(),
        {"lost_discarded": [E(7)]},
    ),
    "skipped": ({}, lambda s: s.add(7, 0.5).holds(0, 1, 7).end(), {"lost_skipped": [E(7)]}),
    "skipped: the stream alone tells that it was added": (
        {},
        lambda s: s.add(7, 0.5, "unknown").holds(0, 1, 7).end(),
        {"lost_skipped": ["job 7"], "unknown_adds": ["job 7"]},
    ),
    "by Redis: the wire alone tells that it was added": (
        {},
        lambda s: s.add(7, 0.5, "unknown").wire("added", 0.5, 7, "producer").holds(0, 1).end(),
        {"lost_by_redis": [E(7)], "unknown_adds": [E(7)]},
    ),
    "nothing lost: the stream was trimmed when all was done": ({}, lambda s: s.holds().end(), {}),
}


@pytest.mark.parametrize("name", PLACED)
def test_where_a_job_was_lost(tmp_path: Path, name: str) -> None:
    experiment, plant, expected = PLACED[name]
    verdict = judge(plant(planted(tmp_path, **experiment)).load())
    found = {name: ids for name, ids in verdict.evidence.items() if ids and name != "lost"}
    assert found == expected
    lost = [entry for name, ids in expected.items() if name in PLACES for entry in ids]
    assert verdict.lost == lost
    assert (verdict.verdict == "invalid") == bool(lost)


def keyed(story: Story, *done: float) -> Story:
    """Jobs 4, 6 and 8, of one key of two, done at these times; and job 5 of the other key, done before them all."""
    for job, at in zip((4, 6, 8), done, strict=True):
        story.add(job, 0.5 + job / 100).work(job, f"worker-{job}", at - 0.02, "read started done acked")
    return story.add(5, 0.55).work(5, "worker-5", 0.6, "read started done acked").end()


BOTH = "read started"
TWO_KEYS = {"keys": 2}

# the same for what else can happen
HAPPENED: dict[str, tuple[dict[str, Any], Plant, dict[str, list[str]]]] = {
    "torn: dead-lettered and done": (
        {},
        lambda s: read(s, "read started failed dead").event("done", "worker-1", 0.9, 7).end(),
        {"torn": [E(7)], "failed_attempts": [E(7)]},
    ),
    "torn: dead-lettered and pending": (
        {},
        lambda s: read(s).end("timed out", dead=[{"entry": E(7), "job": 7}], pending={E(7): "worker-1"}),
        {"torn": [E(7)], "dead_lettered": [E(7)]},
    ),
    "torn: the letter names the job alone": (
        {},
        lambda s: read(s, "read started done acked").end(dead=[{"entry": "", "job": 7}]),
        {"torn": [E(7)]},
    ),
    "not torn: dead-lettered, sent back to work as a new entry, done": (
        {},
        lambda s: (
            read(s, "read started failed dead").work(7, "worker-1", 0.8, "read started done acked", entry="9-9").end()
        ),
        {"produced_twice": [E(7)], "redelivered": [E(7)], "failed_attempts": [E(7)]},
    ),
    "zombie: acks what another has claimed": (
        {},
        lambda s: read(s, BOTH).work(7, "worker-2", 0.7, "claimed").work(7, "worker-1", 0.8, "done acked").end(),
        {"zombie_acks": [E(7)], "redelivered": [E(7)], "reclaimed": [E(7)]},
    ),
    "zombie: acks when another has done and acked it": (
        {},
        lambda s: read(s, BOTH).work(7, "worker-2", 0.7, f"claimed {OK}").work(7, "worker-1", 0.8, "acked").end(),
        {"zombie_acks": [E(7)], "redelivered": [E(7)], "reclaimed": [E(7)]},
    ),
    "zombie: a restarted process has read it again": (
        {},
        lambda s: read(s, BOTH).work(7, "worker-1", 0.7, "own", life=2).work(7, "worker-1", 0.8, "done acked").end(),
        {"zombie_acks": [E(7)], "redelivered": [E(7)]},
    ),
    "zombie: two processes of one name": (
        {},
        lambda s: read(s, BOTH).work(7, "worker-1-twin", 0.7, "own").work(7, "worker-1", 0.8, "done acked").end(),
        {"zombie_acks": [E(7)], "redelivered": [E(7)]},
    ),
    "no zombie: the restarted process acks": (
        {},
        lambda s: read(s, BOTH).work(7, "worker-1", 0.7, f"own {OK}", life=2).end(),
        {"redelivered": [E(7)]},
    ),
    "no zombie: handed back, and claimed by another": (
        {},
        lambda s: read(s, "read started failed retry").work(7, "worker-2", 0.7, f"claimed {OK}").end(),
        {"redelivered": [E(7)], "reclaimed": [E(7)], "failed_attempts": [E(7)]},
    ),
    "no zombie: claimed by another, and back": (
        {},
        lambda s: (
            read(s, BOTH).work(7, "worker-2", 0.7, "claimed started").work(7, "worker-1", 0.8, f"claimed {OK}").end()
        ),
        {"redelivered": [E(7)], "reclaimed": [E(7)]},
    ),
    "no zombie: a sleeper wrote late that it had read it": (
        {},
        lambda s: s.add(7, 0.5).work(7, "worker-2", 0.7, f"claimed {OK}").work(7, "worker-1", 0.715, "read").end(),
        {"redelivered": [E(7)], "reclaimed": [E(7)]},
    ),
    "no zombie: one of several in an XACK, nobody knows which": (
        {},
        lambda s: (
            read(s, BOTH)
            .work(7, "worker-2", 0.7, f"claimed {OK}")
            .event("acked", "worker-1", 0.8, 7, note="2 of 3")
            .end()
        ),
        {"redelivered": [E(7)], "reclaimed": [E(7)]},
    ),
    "reordered: the first was done last": (TWO_KEYS, lambda s: keyed(s, 0.9, 0.7, 0.8), {"reordered": [E(4)]}),
    "reordered: two before the third": (TWO_KEYS, lambda s: keyed(s, 0.8, 0.9, 0.7), {"reordered": [E(4), E(6)]}),
    "not reordered: in order": (TWO_KEYS, lambda s: keyed(s, 0.7, 0.8, 0.9), {}),
    "not reordered: no keys": ({}, lambda s: keyed(s, 0.9, 0.7, 0.8), {}),
    "not reordered: each its own key": ({"keys": 100}, lambda s: keyed(s, 0.9, 0.7, 0.8), {}),
    "not reordered: done again later": (
        TWO_KEYS,
        lambda s: keyed(s.event("done", "worker-4", 1.5, 4), 0.7, 0.8, 0.9),
        {"done_twice": [E(4)]},
    ),
    "effect twice": (
        {},
        lambda s: s.end(effects_counted=True, effects={"0": 2, "1": 1}),
        {"effect_twice": [E(0)]},
    ),
    "effect missing": (
        {},
        lambda s: s.end(effects_counted=True, effects={"0": 1}),
        {"effect_missing": [E(1)]},
    ),
    "no effect twice, none missing": ({}, lambda s: s.end(effects_counted=True, effects={"0": 1, "1": 1}), {}),
    "no effect missing: nobody counted": ({}, lambda s: s.end(effects={"0": 1}), {}),
    "no effect missing: dead-lettered": (
        {},
        lambda s: read(s, "read dead").end(effects_counted=True, effects={"0": 1, "1": 1}),
        {"dead_lettered": [E(7)]},
    ),
    "not lost: the witness found its effect": (
        {},
        lambda s: read(s, "read started").holds(0, 1).end(effects_counted=True, effects={"0": 1, "1": 1, "7": 1}),
        {},
    ),
    "spinning": (
        {},
        lambda s: spin(s, 50, 0.019).end(),
        {"spinning": ["worker-1"]},
    ),
    "not spinning: 49 times": ({}, lambda s: spin(s, 49, 0.001).end(), {}),
    "not spinning: slowly": ({}, lambda s: spin(s, 300, 0.021).end(), {}),
    "not spinning: different errors": (
        {},
        lambda s: spin(spin(s, 40, 0.001), 40, 0.001, "worker-1 XACK LOADING").end(),
        {},
    ),
    "not spinning: different processes": (
        {},
        lambda s: spin(spin(s, 40, 0.001), 40, 0.001, "worker-2 XREADGROUP NOGROUP").end(),
        {},
    ),
    "produced twice: the stream tells": (
        {},
        lambda s: read(s, f"read {OK}").holds(0, 1, 7, ("1700000000999-0", 7)).end(),
        {"produced_twice": [E(7)]},
    ),
    "unexpected: skipped by the group": ({}, lambda s: s.holds(0, 1, ("9-9", -1)).end(), {"unexpected": ["9-9"]}),
    "unexpected: a job of another run": ({}, lambda s: s.holds(0, 1, ("9-9", 99)).end(), {"unexpected": ["9-9"]}),
    "not unexpected: the producer left the job out of the fields": (
        {},
        lambda s: s.holds(0, (E(1), -1)).end(),
        {},
    ),
}


def spin(story: Story, times: int, every: float, note: str = "worker-1 XREADGROUP NOGROUP") -> Story:
    for n in range(times):
        story.wire("error", 0.6 + n * every, note=note)
    return story


@pytest.mark.parametrize("name", HAPPENED)
def test_what_happened_and_no_more(tmp_path: Path, name: str) -> None:
    experiment, plant, expected = HAPPENED[name]
    verdict = judge(plant(planted(tmp_path, **experiment)).load())
    assert {name: found for name, found in verdict.evidence.items() if found} == expected
    assert sum(verdict.counts[fate] for fate in FATES) == verdict.counts["jobs"]
    assert all(verdict.counts[name] == len(ids) for name, ids in expected.items() if name not in FATES)


def test_every_class_is_planted_and_defined() -> None:
    caught = {name for _, _, expected in PLANTED.values() for name in expected}
    caught |= {name for table in (PLACED, HAPPENED) for _, _, expected in table.values() for name in expected}
    assert caught | {"late"} == set(CLASSES) == set(definitions()), "late: see test_recovery"
    assert all(sentence.count(".") == 1 and sentence.endswith(".") for sentence in definitions().values())
    assert set(PLACES) == {name for name in CLASSES if name.startswith("lost_")}
