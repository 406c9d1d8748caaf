"""Each guarantee: kept, broken, and in doubt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamlab.check import GUARANTEES, judge
from streamlab.check.classes import CLASSES
from tests.check.test_judge import E
from tests.histories import Story

Plant = Callable[[Story], Story]
EFFECTS = {"effects_counted": True, "effects": {"0": 1, "1": 1}}


def lost(story: Story) -> Story:
    return story.add(7, 0.5).holds(0, 1).end(**EFFECTS)


def stuck(story: Story) -> Story:
    return story.add(7, 0.5).work(7, "worker-1", 0.6, "read").end("timed out", pending={E(7): "worker-1"}, **EFFECTS)


def unread(story: Story) -> Story:
    return story.add(7, 0.5).end("timed out", undelivered=[E(7)], **EFFECTS)


def again(story: Story) -> Story:
    """Job 1 is done twice."""
    return story.event("done", "worker-1", 0.9, 1)


def killed(story: Story, at: float = 0.6) -> Story:
    """Worker-1 is killed with job 7, which worker-2 has done at `at`."""
    story.add(7, 0.2).work(7, "worker-1", 0.3, "read").fault("kill", "worker-1", 0.4, held=1)
    return story.work(7, "worker-2", at - 0.02, "claimed started done acked").end()


def swapped(story: Story) -> Story:
    """Jobs 2 and 3 are done in the wrong order."""
    return story.add(2, 0.4).add(3, 0.41).work(2, "worker-1", 0.8).work(3, "worker-2", 0.6).end()


def unanswered(story: Story) -> Story:
    return story.add(7, 0.5, "unknown").end(**EFFECTS)


# the experiment, the story beside two jobs that went well, the verdict, and something that its reasons say
Case = tuple[dict[str, Any], Plant, str, str]
ONE_KEY, BOUND = {"keys": 1}, {"recovery_within": 0.5}
CLAIMS: dict[str, dict[str, Case]] = {
    "at-least-once": {
        "kept": ({}, lambda s: again(s).end(), "valid", "at-least-once holds"),
        "kept, with a false burial": (
            {},
            lambda s: s.event("dead", "worker-1", 0.9, 1).end(),
            "valid",
            "at-least-once holds",
        ),
        "lost": ({}, lost, "invalid", f"1 lost by Redis: {E(7)}"),
        "stuck": ({}, stuck, "invalid", f"1 stuck: {E(7)}"),
        "unexpected": ({}, lambda s: s.event("read", "worker-1", 0.9, entry="9-9").end(), "invalid", "unexpected: 9-9"),
        "no answer": ({}, unanswered, "unknown", "1 without an answer"),
    },
    "at-most-once": {
        "kept": ({}, lambda s: s.end(), "valid", "at-most-once holds"),
        "kept, with a loss": ({}, lost, "valid", "at-most-once holds"),
        "kept, with one that stays pending": ({}, stuck, "valid", "at-most-once holds"),
        "kept, with no answer": ({}, unanswered, "valid", "at-most-once holds"),
        "done twice": ({}, lambda s: again(s).end(), "invalid", f"1 done twice: {E(1)}"),
        "effect twice": ({}, lambda s: s.end(effects={"0": 2}), "invalid", f"1 effect twice: {E(0)}"),
        "not all read": ({}, unread, "unknown", "budget"),
        "would come again": (
            {},
            lambda s: s.end("timed out", pending={E(1): "worker-1"}),
            "unknown",
            "1 done but still",
        ),
        "interrupted": ({}, lambda s: s, "unknown", "interrupted"),
    },
    "effectively-once": {
        "kept": ({}, lambda s: again(s).end(**EFFECTS), "valid", "effectively-once holds"),
        "kept, on the workload's word": (
            {},
            lambda s: again(s).end(idempotent=True),
            "valid",
            "nobody counted the effects: the workload promises",
        ),
        "kept, without a count": ({}, lambda s: s.end(), "valid", "nobody counted the effects: each job"),
        "lost": ({}, lost, "invalid", "lost by Redis"),
        "effect twice": (
            {},
            lambda s: s.end(effects_counted=True, effects={"0": 1, "1": 2}),
            "invalid",
            f"1 effect twice: {E(1)}",
        ),
        "effect missing": (
            {},
            lambda s: s.end(effects_counted=True, effects={"0": 1}),
            "invalid",
            f"1 effect missing: {E(1)}",
        ),
        "done twice, not idempotent, not counted": ({}, lambda s: again(s).end(), "invalid", f"1 done twice: {E(1)}"),
        "interrupted": ({}, again, "unknown", "interrupted"),
    },
    "ordered-per-key": {
        "kept": (ONE_KEY, lambda s: s.end(), "valid", "ordered-per-key holds"),
        "kept: other keys": ({"keys": 2}, swapped, "valid", "ordered-per-key holds"),
        "reordered": (ONE_KEY, swapped, "invalid", f"1 reordered: {E(2)}"),
        "lost": (ONE_KEY, lost, "invalid", "lost by Redis"),
        "no keys": ({}, lambda s: s.end(), "unknown", "sets no keys"),
    },
    "bounded-recovery": {
        "kept": (
            BOUND,
            killed,
            "valid",
            "kill worker-1 at 0.40 s stranded 1: the last was done after 0.20 s",
        ),
        "late": (BOUND, lambda s: killed(s, 1.2), "invalid", f"1 late: {E(7)}"),
        "lost": (BOUND, lost, "invalid", "lost by Redis"),
        "nothing stranded": (BOUND, lambda s: s.end(), "unknown", "no fault stranded a message that was not done yet"),
        "no bound": ({}, killed, "unknown", "sets no recovery_within"),
    },
}
NAMES = [(guarantee, name) for guarantee, cases in CLAIMS.items() for name in cases]


@pytest.mark.parametrize(("guarantee", "name"), NAMES)
def test_a_guarantee_is_kept_broken_or_in_doubt(tmp_path: Path, guarantee: str, name: str) -> None:
    experiment, plant, expected, said = CLAIMS[guarantee][name]
    story = Story(tmp_path, guarantee=guarantee, **experiment)
    verdict = judge(plant(story.add(0, 0.1).work(0, "worker-1", 0.2).add(1, 0.2).work(1, "worker-2", 0.3)).load())
    assert verdict.verdict == expected, verdict.reasons
    assert said in " & ".join(verdict.reasons)
    assert verdict.guarantee == guarantee


def test_every_guarantee_is_tried_with_every_class_that_breaks_it() -> None:
    assert set(CLAIMS) == set(GUARANTEES)
    assert all(
        {expected for *_, expected, _ in cases.values()} == {"valid", "invalid", "unknown"} for cases in CLAIMS.values()
    )
    assert all(set(guarantee.broken_by) <= set(CLASSES) for guarantee in GUARANTEES.values())
    assert all(guarantee.says.endswith(".") for guarantee in GUARANTEES.values())
