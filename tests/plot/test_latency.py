"""Latency: what became of a message is marked apart, and quantiles are those of their window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamlab.plot import timeline
from tests.histories import Story
from tests.plot.boxes import assert_readable, texts


def test_each_message_has_one_mark(tmp_path: Path) -> None:
    """0 normal, 1 reclaimed, 2 done and then done again by who claimed it, 3 dead, 4 lost, 5 dead after it was done."""
    story = Story(tmp_path)
    for job in range(6):
        story.add(job, 0.1)
    story.work(0, "worker-1", 0.2)
    story.work(1, "worker-1", 0.2, "read").work(1, "worker-2", 1.2, "claimed started done acked", deliveries=2)
    story.work(2, "worker-1", 0.2, "read started done")
    story.work(2, "worker-2", 1.2, "claimed started done acked", deliveries=2)
    story.work(3, "worker-1", 0.2, "read started failed").event("dead", "worker-1", 0.9, 3, note="permanent")
    story.work(5, "worker-1", 0.2, "read started done").event("dead", "worker-1", 0.9, 5, note="deliveries")
    figure = timeline("latency", story.end(dead=[{"entry": Story.entry(3), "job": 3}]).load()).figure
    lines = {str(line.get_label()): line for line in figure.axes[0].lines}
    took = {name: list(line.get_ydata()) for name, line in lines.items()}
    assert took.pop("never done (1)")
    assert took == {
        "normal (1)": pytest.approx([0.12]),
        "reclaimed (1)": pytest.approx([1.12]),
        "done twice (1)": pytest.approx([0.12]),
        "dead-lettered (2)": pytest.approx([0.8, 0.12]),
    }
    assert set(lines) <= set(texts(figure))
    assert len({(line.get_marker(), line.get_color()) for line in lines.values()}) == 5
    assert_readable(figure)


def test_quantiles_are_those_of_the_jobs_that_were_due_in_the_window(tmp_path: Path) -> None:
    """Half a second of 10 ms, a second of silence, half a second of 100 ms with one of 900 ms in it."""
    story = Story(tmp_path)
    for job in range(100):
        due = job / 100 if job < 50 else 1.0 + job / 100
        took = 0.01 if job < 50 else 0.9 if job == 70 else 0.1
        story.add(job, due).event("read", "worker-1", due, job, deliveries=1)
        story.event("done", "worker-1", due + took, job, deliveries=1)
    figure = timeline("latency", story.end().load()).figure
    middle, _, most = [patch.get_data() for patch in figure.axes[0].patches[:3]]
    assert middle.values == pytest.approx([0.01, 0.01, np.nan, 0.1, 0.1], abs=1e-5, nan_ok=True)
    assert most.values == pytest.approx([0.01, 0.01, np.nan, 0.1, 0.9], abs=1e-5, nan_ok=True)
    assert (middle.edges[0], middle.edges[-1]) == (0, pytest.approx(1.99))
    assert {"p50  100 ms", "p99  900 ms"} <= set(texts(figure)), "those of the whole run"
