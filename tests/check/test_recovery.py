"""What a fault stranded, and how long that took."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamlab.check import judge
from tests.histories import Story, crash

E = Story.entry


def held(folder: Path) -> Story:
    """At 1.0 s worker-1 holds jobs 1 and 2, has done and not acked 3, done 4; worker-2 holds 5; 6 comes later."""
    story = Story(folder, recovery_within=1.0)
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
    return claimed(claimed(claimed(story, 1, 1.8), 2, 2.0), 3, 4.0)


def kill(story: Story, worker: str = "worker-1", at: float = 1.0, **more: Any) -> Story:
    return story.fault("kill", worker, at, **{"held": 3, **more})


def crashed(story: Story, index: int, fault: str = "crash") -> Story:
    """Worker-1's 4th fault is ordered before the work, and this one meets job 1."""
    return story.fault(fault, "worker-1", 0.2, 5.0, family="worker", index=4).hit("worker-1", 1.2, 1, index)


# the story, how many were stranded and for how long by each fault, and which jobs were late
Case = tuple[Callable[[Story], Story], dict[str, tuple[int, float | None]], list[int]]
STRANDED: dict[str, Case] = {
    "killed": (lambda s: rest(kill(s)), {"kill worker-1": (2, 1.02)}, [2]),
    "a looser bound": (lambda s: rest(kill(s.set(recovery_within=1.1))), {"kill worker-1": (2, 1.02)}, []),
    "no bound": (lambda s: rest(kill(s.set())), {"kill worker-1": (2, 1.02)}, []),
    "all of them": (lambda s: rest(kill(s, "all")), {"kill all": (3, 2.0)}, [2, 5]),
    "held nothing": (lambda s: rest(kill(s, held=0)), {}, []),
    "all that it held was done": (lambda s: rest(kill(s, at=3.5)), {}, []),
    "dead-lettered in time": (
        lambda s: rest(claimed(claimed(kill(s), 1, 1.5, "claimed dead"), 2, 1.6)),
        {"kill worker-1": (2, 0.62)},
        [],
    ),
    "never done": (lambda s: claimed(kill(s), 1, 1.5), {"kill worker-1": (2, None)}, [2]),
    "acked by then": (lambda s: rest(kill(s.event("acked", "worker-1", 0.9, 2))), {"kill worker-1": (1, 0.82)}, []),
    "claimed before": (lambda s: rest(kill(claimed(s, 2, 0.8, "claimed"))), {"kill worker-1": (1, 0.82)}, []),
    "two faults": (
        lambda s: rest(kill(kill(s), "worker-2", 1.81)),
        {"kill worker-1": (2, 1.02), "kill worker-2": (2, 1.19)},
        [2, 5],
    ),
    "crashed at a message": (lambda s: rest(crashed(s, 4)), {"crash worker-1": (2, 0.82)}, []),
    "another fault hit it": (lambda s: rest(crashed(s, 3)), {}, []),
    "slow, and nothing stranded": (lambda s: rest(crashed(s, 4, "slow")), {}, []),
}


@pytest.mark.parametrize("name", STRANDED)
def test_recovery_is_measured_and_what_is_late_is_named(tmp_path: Path, name: str) -> None:
    plant, expected, late = STRANDED[name]
    verdict = judge(plant(held(tmp_path)).end().load())
    found = {row["fault"]: (row["stranded"], row["seconds"]) for row in verdict.recovery}
    assert found == {fault: (jobs, seconds and pytest.approx(seconds)) for fault, (jobs, seconds) in expected.items()}
    assert verdict.late == [E(job) for job in late]
    longest = max((math.inf if seconds is None else seconds for _, seconds in expected.values()), default=None)
    assert verdict.recovery_seconds == (longest and pytest.approx(longest))


def test_what_the_history_is_too_short_to_tell_is_not_late(tmp_path: Path) -> None:
    story = Story(tmp_path, recovery_within=5.0).add(1, 0.1).work(1, "worker-1", 0.5, "read")
    verdict = judge(kill(story).event("phase", "lab", 5.9, note="stop").load())
    assert (verdict.late, verdict.recovery_seconds) == ([], math.inf)


def test_the_tour_recovers(tmp_path: Path) -> None:
    (row,) = judge(crash(tmp_path).load()).recovery
    assert (row["fault"], row["start"], row["stranded"]) == ("kill worker-2", 1.5, 3)
    assert 1.0 < row["seconds"] < 1.2
