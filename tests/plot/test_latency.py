"""Latency: what became of a message is marked apart, and quantiles are those of their window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamlab.plot import latency
from streamlab.plot.latency import latencies
from tests.histories import Story, crash
from tests.plot.boxes import assert_readable, texts


def fates(folder: Path) -> Story:
    """0 normal, 1 reclaimed, 2 done and then done again by who claimed it, 3 dead, 4 lost, 5 dead after it was done."""
    story = Story(folder)
    for job in range(6):
        story.add(job, 0.1)
    story.work(0, "worker-1", 0.2)
    story.work(1, "worker-1", 0.2, "read").work(1, "worker-2", 1.2, "claimed started done acked", deliveries=2)
    story.work(2, "worker-1", 0.2, "read started done")
    story.work(2, "worker-2", 1.2, "claimed started done acked", deliveries=2)
    story.work(3, "worker-1", 0.2, "read started failed").event("dead", "worker-1", 0.9, 3, note="permanent")
    story.work(5, "worker-1", 0.2, "read started done").event("dead", "worker-1", 0.9, 5, note="deliveries")
    return story.end(dead=[{"entry": Story.entry(3), "job": 3}])


def test_each_message_has_one_mark(tmp_path: Path) -> None:
    rows = latencies(fates(tmp_path).load())
    assert rows["mark"].tolist() == [
        "normal",
        "reclaimed",
        "done twice",
        "dead-lettered",
        "never done",
        "dead-lettered",
    ]
    assert rows["took"].to_numpy() == pytest.approx([0.12, 1.12, 0.12, 0.8, np.nan, 0.12], nan_ok=True)


def test_the_marks_are_counted_in_the_legend(tmp_path: Path) -> None:
    figure = latency(fates(tmp_path).load()).figure
    said = {"normal (1)", "reclaimed (1)", "done twice (1)", "dead-lettered (2)", "never done (1)"}
    assert said <= set(texts(figure))
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert len({(line.get_marker(), line.get_color()) for name, line in lines.items() if name in said}) == 5
    assert_readable(figure)


def test_quantiles_are_those_of_the_jobs_that_were_due_in_the_window(tmp_path: Path) -> None:
    """Half a second of 10 ms, a second of silence, half a second of 100 ms with one of 900 ms in it."""
    story = Story(tmp_path)
    for job in range(100):
        due = job / 100 if job < 50 else 1.0 + job / 100
        took = 0.01 if job < 50 else 0.9 if job == 70 else 0.1
        story.add(job, due).event("read", "worker-1", due, job, deliveries=1)
        story.event("done", "worker-1", due + took, job, deliveries=1)
    figure = latency(story.end().load()).figure
    middle, _, most = [patch.get_data() for patch in figure.axes[0].patches[:3]]
    assert len(middle.values) == 5
    assert middle.values == pytest.approx([0.01, 0.01, np.nan, 0.1, 0.1], abs=1e-5, nan_ok=True)
    assert most.values == pytest.approx([0.01, 0.01, np.nan, 0.1, 0.9], abs=1e-5, nan_ok=True)
    assert middle.edges[0] == 0
    assert middle.edges[-1] == pytest.approx(1.99)
    assert {"p50  100 ms", "p99  900 ms"} <= set(texts(figure)), "those of the whole run"


def test_many_messages_are_drawn_as_density(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamlab.plot.style.DENSE", 100)
    figure = latency(crash(tmp_path).load()).figure
    said = texts(figure)
    assert "normal: messages in a cell (117 in all)" in said
    assert "reclaimed (3)" in said
    (cells,) = figure.axes[0].collections
    assert cells.get_array().sum() == 117
    assert_readable(figure)
