"""What a fault stranded, and how long that took."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamlab.check import judge
from tests.check.test_judge import E
from tests.histories import Story, crash

WITHIN = {"recovery_within": 1.0}


def held(folder: Path, **experiment: Any) -> Story:
    """At 1.0 s worker-1 holds jobs 1 and 2, has done and not acked 3, done 4; worker-2 holds 5; 6 comes later."""
    story = Story(folder, **experiment)
    for job in range(1, 6):
        story.add(job, 0.1)
    story.work(1, "worker-1", 0.5, "read started").work(2, "worker-1", 0.5, "read")
    story.work(3, "worker-1", 0.5, "read started done").work(4, "worker-1", 0.5, "read started done acked")
    story.work(5, "worker-2", 0.5, "read started")
    return story.work(5, "worker-2", 3.0, "done acked").add(6, 1.1).work(6, "worker-2", 9.0)


def claimed(story: Story, job: int, at: float, kinds: str = "claimed started done acked") -> Story:
    return story.work(job, "worker-2", at, kinds, deliveries=2)


def rest(story: Story) -> Story:
    """All that worker-1 left behind, by worker-2: job 1 done at 1.82 s, job 2 at 2.02 s."""
    for job, at in ((1, 1.8), (2, 2.0), (3, 4.0)):
        claimed(story, job, at)
    return story


# the experiment, the story, the recovery, and what was late
Case = tuple[dict[str, Any], Callable[[Story], Story], list[tuple[str, float, int, float | None]], list[str]]
STRANDED: dict[str, Case] = {
    "killed": (
        WITHIN,
        lambda s: rest(s.fault("kill", "worker-1", 1.0, held=3)).end(),
        [("kill worker-1", 1.0, 2, 1.02)],
        [E(2)],
    ),
    "killed, and a looser bound": (
        {"recovery_within": 1.1},
        lambda s: rest(s.fault("kill", "worker-1", 1.0, held=3)).end(),
        [("kill worker-1", 1.0, 2, 1.02)],
        [],
    ),
    "killed, and no bound": (
        {},
        lambda s: rest(s.fault("kill", "worker-1", 1.0, held=3)).end(),
        [("kill worker-1", 1.0, 2, 1.02)],
        [],
    ),
    "all of them": (
        WITHIN,
        lambda s: rest(s.fault("kill", "all", 1.0, held=4)).end(),
        [("kill all", 1.0, 3, 2.0)],
        [E(2), E(5)],
    ),
    "held nothing": (WITHIN, lambda s: rest(s.fault("kill", "worker-1", 1.0, held=0)).end(), [], []),
    "stranded nothing that was not done": (
        WITHIN,
        lambda s: rest(s.fault("kill", "worker-1", 3.5, held=1)).end(),
        [],
        [],
    ),
    "dead-lettered in time": (
        WITHIN,
        lambda s: (
            claimed(claimed(s.fault("kill", "worker-1", 1.0, held=2), 1, 1.5, "claimed dead"), 2, 1.6)
            .work(3, "worker-2", 2.0)
            .end()
        ),
        [("kill worker-1", 1.0, 2, 0.62)],
        [],
    ),
    "never done": (
        WITHIN,
        lambda s: claimed(s.fault("kill", "worker-1", 1.0, held=2), 1, 1.5).end(
            "timed out", pending={E(2): "worker-1"}
        ),
        [("kill worker-1", 1.0, 2, None)],
        [E(2)],
    ),
    "acked by then": (
        WITHIN,
        lambda s: rest(s.event("acked", "worker-1", 0.9, 2).fault("pause", "worker-1", 1.0, 1.4, held=2)).end(),
        [("pause worker-1", 1.0, 1, 0.82)],
        [],
    ),
    "claimed from it before": (
        WITHIN,
        lambda s: rest(s.work(2, "worker-2", 0.8, "claimed").fault("kill", "worker-1", 1.0, held=1)).end(),
        [("kill worker-1", 1.0, 1, 0.82)],
        [],
    ),
    "two faults": (
        WITHIN,
        lambda s: rest(s.fault("kill", "worker-1", 1.0, held=3, index=0).fault("kill", "worker-2", 1.81, held=2)).end(),
        [("kill worker-1", 1.0, 2, 1.02), ("kill worker-2", 1.81, 2, 1.19)],
        [E(2), E(5)],
    ),
    "crashed at a message": (
        WITHIN,
        lambda s: rest(
            s.fault("crash", "worker-1", 0.2, 5.0, family="worker", index=4).hit("worker-1", 1.2, 1, index=4)
        ).end(),
        [("crash worker-1", 1.2, 2, 0.82)],
        [],
    ),
    "another fault hit it": (
        WITHIN,
        lambda s: rest(
            s.fault("crash", "worker-1", 0.2, 5.0, family="worker", index=4).hit("worker-1", 1.2, 1, index=3)
        ).end(),
        [],
        [],
    ),
    "slow, and nothing stranded": (
        WITHIN,
        lambda s: rest(
            s.fault("slow", "worker-1", 0.2, 5.0, family="worker", index=4).hit("worker-1", 0.5, 1, index=4)
        ).end(),
        [],
        [],
    ),
}


@pytest.mark.parametrize("name", STRANDED)
def test_recovery_is_measured_and_what_is_late_is_named(tmp_path: Path, name: str) -> None:
    experiment, plant, expected, late = STRANDED[name]
    verdict = judge(plant(held(tmp_path, **experiment)).load())
    rows = [(row["fault"], row["start"], row["stranded"], row["seconds"]) for row in verdict.recovery]
    assert [row[:3] for row in rows] == [row[:3] for row in expected]
    assert [row[3] for row in rows] == [row[3] and pytest.approx(row[3]) for row in expected]
    assert verdict.late == late
    longest = max((math.inf if row[3] is None else row[3] for row in expected), default=None)
    assert verdict.recovery_seconds == (longest if longest is None else pytest.approx(longest))


def test_what_the_history_is_too_short_to_tell_is_not_late(tmp_path: Path) -> None:
    story = Story(tmp_path, recovery_within=5.0).add(1, 0.1).work(1, "worker-1", 0.5, "read")
    verdict = judge(story.fault("kill", "worker-1", 1.0, held=1).event("phase", "lab", 5.9, note="stop").load())
    assert (verdict.late, verdict.recovery_seconds) == ([], math.inf)


def test_the_tour_recovers(tmp_path: Path) -> None:
    (row,) = judge(crash(tmp_path).load()).recovery
    assert (row["fault"], row["stranded"]) == ("kill worker-2", 3)
    assert 1.0 < row["seconds"] < 1.2
