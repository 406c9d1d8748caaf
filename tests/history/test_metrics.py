"""What can be read of a run while it is being written."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamlab.history.metrics import SECONDS, STEP, LiveMetrics
from tests.histories import START_NS, Story


def test_latency_and_rate_of_the_last_second(tmp_path: Path) -> None:
    story = Story(tmp_path)
    live = LiveMetrics(story.folder, START_NS)
    for job in range(8):
        story.add(job, job / 4).event("done", "worker-1", job / 4 + 0.1, job)
    look = live.at(2.0)
    assert look.time == [step * STEP for step in range(8)]
    assert look.added[-1] == look.done[-1] == 4
    assert look.p50[-1] == pytest.approx(0.1)
    assert (look.offered, look.finished, look.claimed) == (8, 8, 0)
    assert look.oldest[-1] is None


def test_a_later_look_takes_what_is_new_and_nothing_twice(tmp_path: Path) -> None:
    story = Story(tmp_path)
    live = LiveMetrics(story.folder, START_NS)
    for job in range(300):
        story.add(job, 0.1)
    assert live.at(1.0).offered == 300
    story.work(5, "worker-1", 2.0, "done done").event("claimed", "worker-1", 2.2, 6)  # done twice is done once
    look = live.at(3.0)
    assert (look.offered, look.finished, look.claimed) == (300, 1, 1)
    assert look.p99[-4] == pytest.approx(1.9)
    assert look.oldest[-1] == pytest.approx(2.9)
    # The log of a worker's next process is another file; what the wire saw is not counted.
    story.event("done", "worker-1", 3.1, 6, incarnation=2).wire("claimed", 3.1, 6)
    look = live.at(1000.0)
    assert (look.offered, look.finished, look.claimed) == (300, 2, 1)
    assert (len(look.time), look.time[-1] + STEP) == (SECONDS / STEP, 1000)
    assert set(look.added) == {0}, "what is long ago is forgotten"


def test_samples_come_in_whole_lines_and_gaps_are_gaps(tmp_path: Path) -> None:
    live = LiveMetrics(tmp_path, 0)
    assert live.at(0.5).lag == [None, None]
    path = tmp_path / "samples.csv"
    path.write_text('time_ns,metric,consumer,value\n600000000,pending,"a,b",3\n600000000,lag,,7\n650000000,lag,,1')
    assert live.at(1.0).lag == [None, None, 7, None]
    with path.open("a") as file:
        file.write('2\n1100000000,pending,"a,b",4\n')
    look = live.at(1.5)
    assert look.pending == {"a,b": [None, None, 3, None, 4, None]}
    assert look.held == {"a,b": 4}
    assert look.lag == [None, None, 12, None, None, None]


def test_what_was_refused_or_dead_lettered_waits_no_longer(tmp_path: Path) -> None:
    story = Story(tmp_path).add(0, 0.1).add(1, 0.1, "refused")
    live = LiveMetrics(story.folder, START_NS)
    assert live.at(1.0).oldest[-1] == pytest.approx(0.9)
    story.event("dead", "worker-1", 1.1, 0)
    look = live.at(2.0)
    assert (look.oldest[-1], look.finished) == (None, 0)
