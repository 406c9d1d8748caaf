"""Each guarantee: kept, broken, and in doubt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from streamlab.check import GUARANTEES, judge
from tests.histories import Story

E = Story.entry
Plant = Callable[[Story], Story]
EFFECTS = {"effects_counted": True, "effects": {"0": 1, "1": 1}}


def lost(story: Story) -> Story:
    return story.add(7, 0.5).holds(0, 1).end(**EFFECTS)


def stuck(story: Story) -> Story:
    return story.add(7, 0.5).work(7, "worker-1", 0.6, "read").end("timed out", pending={E(7): "worker-1"}, **EFFECTS)


def foreign(story: Story) -> Story:
    return story.event("read", "worker-1", 0.9, entry="9-9").end(**EFFECTS)


def unanswered(story: Story) -> Story:
    return story.add(7, 0.5, "unknown").end(**EFFECTS)


def twice(story: Story) -> Story:
    """Job 1 is done twice."""
    return story.event("done", "worker-1", 0.9, 1)


def effects(story: Story, **effects: int) -> Story:
    return story.end(effects_counted=True, effects=effects)


def killed(story: Story, at: float = 0.6) -> Story:
    """Worker-1 is killed with job 7, which worker-2 has done at `at`."""
    story.add(7, 0.2).work(7, "worker-1", 0.3, "read").fault("kill", "worker-1", 0.4, held=1)
    return story.work(7, "worker-2", at - 0.02, "claimed started done acked").end()


def swapped(story: Story, keys: int = 1) -> Story:
    """Jobs 2 and 3 are done in the wrong order."""
    story.set(guarantee="ordered-per-key", keys=keys)
    return story.add(2, 0.4).add(3, 0.41).work(2, "worker-1", 0.8).work(3, "worker-2", 0.6).end()


def bounded(story: Story) -> Story:
    return story.set(guarantee="bounded-recovery", recovery_within=0.5)


def keyed(story: Story) -> Story:
    return story.set(guarantee="ordered-per-key", keys=1)


#: By guarantee and verdict: something that the reasons say, and the story beside two jobs that went well.
CLAIMS: dict[tuple[str, str], list[tuple[str, Plant]]] = {
    ("at-least-once", "valid"): [
        ("at-least-once holds", lambda s: twice(s).end()),
        ("at-least-once holds", lambda s: s.event("dead", "worker-1", 0.9, 1).end()),  # a false burial
    ],
    ("at-least-once", "invalid"): [
        (f"1 lost by Redis: {E(7)}", lost),
        (f"1 stuck: {E(7)}", stuck),
        ("1 unexpected: 9-9", foreign),
    ],
    ("at-least-once", "unknown"): [("1 without an answer", unanswered)],
    ("at-most-once", "valid"): [("at-most-once holds", plant) for plant in (lost, stuck, foreign, unanswered)],
    ("at-most-once", "invalid"): [
        (f"1 done twice: {E(1)}", lambda s: twice(s).end()),
        (f"1 effect twice: {E(0)}", lambda s: s.end(effects={"0": 2})),
    ],
    ("at-most-once", "unknown"): [
        ("budget", lambda s: s.add(7, 0.5).end("timed out", undelivered=[E(7)])),
        ("1 done but still", lambda s: s.end("timed out", pending={E(1): "worker-1"})),
        ("interrupted", lambda s: s),
    ],
    ("effectively-once", "valid"): [
        ("effectively-once holds", lambda s: twice(s).end(**EFFECTS)),
        ("nobody counted the effects: the workload promises", lambda s: twice(s).end(idempotent=True)),
        ("nobody counted the effects: each job", lambda s: s.end()),
    ],
    ("effectively-once", "invalid"): [
        ("lost by Redis", lost),
        ("1 stuck", stuck),
        ("1 unexpected", foreign),
        (f"1 effect twice: {E(1)}", lambda s: effects(s, **{"0": 1, "1": 2})),
        (f"1 effect missing: {E(1)}", lambda s: effects(s, **{"0": 1})),
        (f"1 done twice: {E(1)}", lambda s: twice(s).end()),  # neither counted nor idempotent
    ],
    ("effectively-once", "unknown"): [("interrupted", twice)],
    ("ordered-per-key", "valid"): [
        ("ordered-per-key holds", lambda s: keyed(s).end()),
        ("ordered-per-key holds", lambda s: swapped(s, keys=2)),
    ],
    ("ordered-per-key", "invalid"): [
        (f"1 reordered: {E(2)}", swapped),
        ("lost by Redis", lambda s: lost(keyed(s))),
        ("1 stuck", lambda s: stuck(keyed(s))),
        ("1 unexpected", lambda s: foreign(keyed(s))),
    ],
    ("ordered-per-key", "unknown"): [("sets no keys", lambda s: s.end())],
    ("bounded-recovery", "valid"): [
        ("kill worker-1 at 0.40 s stranded 1: the last was done after 0.20 s", lambda s: killed(bounded(s))),
    ],
    ("bounded-recovery", "invalid"): [
        (f"1 late: {E(7)}", lambda s: killed(bounded(s), 1.2)),
        ("lost by Redis", lambda s: lost(bounded(s))),
        ("1 stuck", lambda s: stuck(bounded(s))),
        ("1 unexpected", lambda s: foreign(bounded(s))),
    ],
    ("bounded-recovery", "unknown"): [
        ("no fault stranded a message that was not done yet", lambda s: bounded(s).end()),
        ("sets no recovery_within", killed),
    ],
}


@pytest.mark.parametrize(("guarantee", "expected"), CLAIMS)
def test_a_guarantee_is_kept_broken_or_in_doubt(tmp_path: Path, guarantee: str, expected: str) -> None:
    for number, (said, plant) in enumerate(CLAIMS[guarantee, expected]):
        story = Story(tmp_path / str(number), guarantee=guarantee).add(0, 0.1).work(0, "worker-1", 0.2)
        verdict = judge(plant(story.add(1, 0.2).work(1, "worker-2", 0.3)).load())
        assert verdict.verdict == expected, verdict.reasons
        assert said in " & ".join(verdict.reasons)
        assert verdict.guarantee == guarantee


def test_every_guarantee_is_tried() -> None:
    assert set(CLAIMS) == {(name, verdict) for name in GUARANTEES for verdict in ("valid", "invalid", "unknown")}
