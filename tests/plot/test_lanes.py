"""The lanes: a bar a delivery, an arrow a claim, a cross a death; and what they are drawn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from streamlab.errors import UsageError
from streamlab.plot import lanes
from streamlab.plot.lifetimes import Lifetime, lifetimes
from streamlab.report import Trace
from tests.histories import Story, crash, healthy
from tests.plot.boxes import assert_readable, drawn, texts


def edges(figure: Figure, gid: str) -> np.ndarray:
    """Left, right, upper, lower of each bar."""
    corners = np.array([path.vertices[:4] for (bars,) in [drawn(figure, gid)] for path in bars.get_paths()])
    return np.stack([f(corners[:, :, n], axis=1) for n in (0, 1) for f in (np.min, np.max)], axis=1)


def test_the_end_of_what_nobody_acknowledged(tmp_path: Path) -> None:
    """What is pending is held to the end; what an operator removed, until then; else until the last word."""
    story = Story(tmp_path)
    for job in range(3):
        story.add(job, 0.1).work(job, "worker-1", 0.2, "read started")
    story.work(1, "worker-1", 3.0, "done").fault("flushall", "redis", 1.0, 1.0, family="redis")
    history = story.sample(5.0, "length", 0).end("timed out", pending={Story.entry(2): "worker-1"}).load()
    assert edges(lanes(history).figure, "delivered")[:, 1].tolist() == pytest.approx([1.0, 3.0, 5.0])


def test_lives_of_processes(tmp_path: Path) -> None:
    story = crash(tmp_path)
    for worker in (1, 2, 3):
        story.event("worker_up", "lab", 0.01 * worker, note=f"worker-{worker}: pid 7, incarnation 1")
    lives = lifetimes(story.event("worker_exit", "lab", 3.2, note="worker-3: status 0").load())
    end = pytest.approx(4.15)
    assert lives["worker-1"] == [Lifetime(pytest.approx(0.01), end)]
    assert lives["worker-2"] == [Lifetime(pytest.approx(0.02), 1.5, crashed=True), Lifetime(3.0, end)]
    assert lives["worker-3"] == [Lifetime(pytest.approx(0.03), 3.2)]


def test_the_lanes_of_a_crash(tmp_path: Path) -> None:
    history = crash(tmp_path).load()
    figure = lanes(history).figure
    (bars,), (hollow,), (done,) = (drawn(figure, gid) for gid in ("delivered", "delivered again", "done"))
    assert (len(bars.get_paths()), len(hollow.get_paths()), len(done.get_segments())) == (120, 3, 120)
    assert {tuple(colour[:3]) for colour in hollow.get_facecolor()} == {(1.0, 1.0, 1.0)}
    (arrows,), (cross,) = drawn(figure, "claims"), drawn(figure, "crash")
    assert arrows.X.tolist() == [2.5] * 3
    assert cross.get_xdata().tolist() == [1.5]
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["worker-1", "worker-2", "worker-3"]
    assert figure.axes[0].yaxis_inverted(), "worker-1 on top"
    assert {"claimed (3)", "process gone", "✕ kill worker-2"} <= set(texts(figure))
    # Bars do not lie on each other, and each stays in its worker's lane.
    boxes = np.concatenate([edges(figure, "delivered"), edges(figure, "delivered again")])
    for n, (left, right, upper, lower) in enumerate(boxes):
        others = np.delete(boxes, n, axis=0)
        across = np.minimum(right, others[:, 1]) - np.maximum(left, others[:, 0]) > 0.007
        along = np.minimum(lower, others[:, 3]) - np.maximum(upper, others[:, 2]) > 0.01
        assert not (across & along).any()
    found = history.deliveries.sort_values("again", kind="stable")
    of = [boxes[(found["process"] == label).to_numpy()] for label in labels]
    assert of[0][:, 3].max() < of[1][:, 2].min() < of[1][:, 3].max() < of[2][:, 2].min()


def test_a_zombie(tmp_path: Path) -> None:
    """worker-1 is paused with job 0; worker-2 claims it and does it; worker-1 wakes up and does it too."""
    story = Story(tmp_path).add(0, 0.1).work(0, "worker-1", 0.2, "read started")
    story.work(0, "worker-2", 1.2, "claimed started done acked", deliveries=2).work(0, "worker-1", 1.5, "done acked")
    figure = lanes(story.fault("pause", "worker-1", 0.25, 1.45, held=1).end().load()).figure
    ((_, end, upper, lower),) = edges(figure, "delivered")
    ((start, _, to_upper, to_lower),) = edges(figure, "delivered again")
    (arrow,), (tail,), (shade,) = (drawn(figure, gid) for gid in ("claims", "tail", "shade"))
    assert end == pytest.approx(start) == pytest.approx(arrow.X[0]) == pytest.approx(1.2)
    assert arrow.Y[0] == pytest.approx((upper + lower) / 2)
    assert arrow.Y[0] + arrow.V[0] == pytest.approx((to_upper + to_lower) / 2)
    assert tail.get_segments()[0][:, 0].tolist() == pytest.approx([1.2, 1.51])
    assert "another's already" in texts(figure)
    box, (first, second) = shade.get_paths()[0].get_extents(), sorted(figure.axes[0].get_yticks())
    assert (box.x0, box.x1) == pytest.approx((0.25, 1.45))
    assert box.y0 < first < box.y1 < second, "the fault is shaded in its worker's lane only"


def test_a_part_of_the_run(tmp_path: Path) -> None:
    history = crash(tmp_path).load()
    figure = lanes(history, start=2, end=2.6).figure
    assert figure.axes[0].get_xlim() == (2, 2.6)
    seen = ((history.deliveries["end"] >= 2) & (history.deliveries["start"] <= 2.6)).sum()
    assert len(edges(figure, "delivered")) + len(edges(figure, "delivered again")) == seen < 123
    assert drawn(figure, "crash") == []
    assert "✕ kill worker-2" in texts(figure), "it still lasts"
    assert drawn(figure, "fault") == [], "but it did not begin here"
    assert_readable(figure)
    for start, end in ((2, 1), (1, 1), (float("nan"), 2), (0, float("inf")), (99, None)):
        with pytest.raises(UsageError, match="expected seconds since the start, start before end"):
            lanes(history, start, end)


def test_one_message(tmp_path: Path) -> None:
    """Who held it, the faults of these only; the crash of another worker has nothing to do with it."""
    history = crash(tmp_path).load()
    figure = Trace.of(history, 53).plot().figure
    assert_readable(figure)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["worker-1", "worker-2"]
    assert edges(figure, "delivered")[0, :2].tolist() == pytest.approx([1.427, 2.5])
    assert edges(figure, "delivered again")[0, :2].tolist() == pytest.approx([2.5, 2.531])
    assert {"message 1700000000530-0, job 53", "✕ kill worker-2", "process gone"} <= set(texts(figure))
    assert not drawn(Trace.of(history, 60).plot().figure, "fault name")
    story = Story(tmp_path / "never").add(0, 0.1).event("read", "worker-1", 0.9, entry="9-9")
    history = story.fault("flushall", "redis", 0.8, 0.8, family="redis").end().load()
    never = Trace.of(history, 0).plot().figure
    assert {"it was never delivered", "flushall redis (redis) ▣"} <= set(texts(never))
    assert_readable(never)
    assert_readable(Trace.of(history, "9-9").plot().figure)


def test_many_messages_are_drawn_as_their_number(tmp_path: Path) -> None:
    """10,000 messages, of which each worker holds up to 50 at a time; the highest of them is what a full lane means."""
    story = Story(tmp_path)
    for job in range(10_000):
        worker, at = f"worker-{job % 16 + 1}", job / 1000
        story.event("read", worker, at, job, deliveries=1)
        story.event("acked", worker, at + (0.8 if job % 16 == 3 else 0.2), job, deliveries=1)
    for job in range(0, 4000, 2):  # claimed by one worker in one go
        story.event("claimed", "worker-9", 9.5, job, deliveries=2)
    figure = lanes(story.end().load()).figure
    assert drawn(figure, "delivered") == []
    assert len(drawn(figure, "held")) == 16
    assert {"messages held:\na full lane is 2,013", "claimed (1,750)"} <= set(texts(figure))
    (arrows,) = drawn(figure, "claims")
    assert arrows.N == 7, "an arrow from each lane that lost some to worker-9"
    assert_readable(figure)


def test_the_lanes_of_sixty_four_workers_are_still_read(tmp_path: Path) -> None:
    story = healthy(tmp_path)
    for job in range(3, 131):
        story.add(job, job / 50).work(job, f"worker-{job % 64 + 1}", job / 50)
    figure = lanes(story.load()).figure
    assert_readable(figure)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [f"worker-{n}" for n in range(1, 65)]
