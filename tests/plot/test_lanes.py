"""The lanes: a bar a delivery, an arrow a claim, a cross a death; and what they are drawn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamlab.errors import UsageError
from streamlab.plot import lanes, style
from streamlab.plot.lifetimes import Lifetime, lifetimes
from tests.histories import Story, crash, healthy
from tests.plot.boxes import assert_readable, drawn, texts


def zombie(folder: Path) -> Story:
    """worker-1 is paused with job 0; worker-2 claims it and does it; worker-1 wakes up and does it too."""
    story = Story(folder).add(0, 0.1).work(0, "worker-1", 0.2, "read started")
    story.work(0, "worker-2", 1.2, "claimed started done acked", deliveries=2)
    story.work(0, "worker-1", 1.5, "done acked")
    return story.fault("pause", "worker-1", 0.25, 1.45, held=1).end()


def test_the_end_of_what_nobody_acknowledged(tmp_path: Path) -> None:
    """What is pending is held to the end; what an operator removed, until then; else until the last word."""
    story = Story(tmp_path)
    for job in range(3):
        story.add(job, 0.1).work(job, "worker-1", 0.2, "read started")
    story.work(1, "worker-1", 3.0, "done")
    story.fault("flushall", "redis", 1.0, 1.0, family="redis")
    story.sample(5.0, "length", 0)
    history = story.end("timed out", pending={Story.entry(2): "worker-1"}).load()
    assert edges(lanes(history).figure, "delivered")[:, 1].tolist() == pytest.approx([1.0, 3.0, 5.0])


def test_lives_of_processes(tmp_path: Path) -> None:
    story = crash(tmp_path)
    for worker in (1, 2, 3):
        story.event("worker_up", "lab", 0.01 * worker, note=f"worker-{worker}: pid 7, incarnation 1")
    story.event("worker_exit", "lab", 3.2, note="worker-3: status 0")
    lives = lifetimes(story.load())
    end = pytest.approx(4.15)
    assert lives["worker-1"] == [Lifetime(pytest.approx(0.01), end)]
    assert lives["worker-2"] == [Lifetime(pytest.approx(0.02), 1.5, crashed=True), Lifetime(3.0, end)]
    assert lives["worker-3"] == [Lifetime(pytest.approx(0.03), 3.2)]


def test_the_lanes_of_a_crash(tmp_path: Path) -> None:
    figure = lanes(crash(tmp_path).load()).figure
    (bars,), (hollow,), (done,) = (drawn(figure, gid) for gid in ("delivered", "delivered again", "done"))
    assert (len(bars.get_paths()), len(hollow.get_paths()), len(done.get_segments())) == (120, 3, 120)
    assert {tuple(colour[:3]) for colour in hollow.get_facecolor()} == {(1.0, 1.0, 1.0)}
    (arrows,) = drawn(figure, "claims")
    assert arrows.N == 3
    assert set(arrows.X) == {2.5}
    (cross,) = drawn(figure, "crash")
    assert cross.get_xdata().tolist() == [1.5]
    labels = figure.axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == ["worker-1", "worker-2", "worker-3"]
    assert figure.axes[0].yaxis_inverted(), "worker-1 on top"
    assert {"claimed (3)", "process gone", "✕ kill worker-2"} <= set(texts(figure))


def edges(figure, gid: str) -> np.ndarray:
    """Left, right, upper, lower of each bar."""
    corners = np.array([path.vertices[:4] for (bars,) in [drawn(figure, gid)] for path in bars.get_paths()])
    return np.stack([f(corners[:, :, n], axis=1) for n in (0, 1) for f in (np.min, np.max)], axis=1)


def test_bars_do_not_lie_on_each_other_and_stay_in_their_lane(tmp_path: Path) -> None:
    history = crash(tmp_path).load()
    figure = lanes(history).figure
    bars = np.concatenate([edges(figure, "delivered"), edges(figure, "delivered again")])
    for n, (left, right, upper, lower) in enumerate(bars):
        others = np.delete(bars, n, axis=0)
        across = np.minimum(right, others[:, 1]) - np.maximum(left, others[:, 0]) > 0.007
        along = np.minimum(lower, others[:, 3]) - np.maximum(upper, others[:, 2]) > 0.01
        assert not (across & along).any()
    found = history.deliveries
    workers = np.array([*found[~found["again"]]["process"], *found[found["again"]]["process"]])
    of = [bars[workers == f"worker-{n}"] for n in (1, 2, 3)]
    assert of[0][:, 3].max() < of[1][:, 2].min() < of[1][:, 3].max() < of[2][:, 2].min()


def test_an_arrow_goes_from_bar_to_bar(tmp_path: Path) -> None:
    figure = lanes(zombie(tmp_path).load()).figure
    ((_, end, upper, lower),) = edges(figure, "delivered")
    ((start, _, to_upper, to_lower),) = edges(figure, "delivered again")
    (arrow,) = drawn(figure, "claims")
    assert end == pytest.approx(start) == pytest.approx(arrow.X[0]) == pytest.approx(1.2)
    assert arrow.Y[0] == pytest.approx((upper + lower) / 2)
    assert arrow.Y[0] + arrow.V[0] == pytest.approx((to_upper + to_lower) / 2)
    (tail,) = drawn(figure, "tail")
    assert tail.get_segments()[0][:, 0].tolist() == pytest.approx([1.2, 1.51])
    assert "another's already" in texts(figure)


def test_a_fault_of_a_worker_is_shaded_in_its_lane_only(tmp_path: Path) -> None:
    figure = lanes(zombie(tmp_path).load()).figure
    (shade,) = drawn(figure, "shade")
    box = shade.get_paths()[0].get_extents()
    upper, lower = sorted(figure.axes[0].get_yticks())
    assert (box.x0, box.x1) == pytest.approx((0.25, 1.45))
    assert box.y0 < upper < box.y1 < lower


def test_a_part_of_the_run(tmp_path: Path) -> None:
    history = crash(tmp_path).load()
    figure = lanes(history, start=2, end=2.6).figure
    assert figure.axes[0].get_xlim() == (2, 2.6)
    found = history.deliveries
    seen = ((found["end"] >= 2) & (found["start"] <= 2.6)).sum()
    assert len(edges(figure, "delivered")) + len(edges(figure, "delivered again")) == seen < 123
    assert drawn(figure, "crash") == []
    assert "✕ kill worker-2" in texts(figure), "it still lasts"
    assert drawn(figure, "fault") == [], "but it did not begin here"
    assert_readable(figure)


@pytest.mark.parametrize(("start", "end"), [(2, 1), (1, 1), (float("nan"), 2), (0, float("inf")), (99, None)])
def test_no_part_of_the_run(tmp_path: Path, start: float, end: float | None) -> None:
    with pytest.raises(UsageError, match="expected seconds since the start, start before end"):
        lanes(healthy(tmp_path).load(), start, end)


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
    before = lanes(story.load(), end=9).figure
    (label,) = [text for text in texts(before) if text.startswith("messages held")]
    assert label.endswith("is 50") or label.endswith("is 51")


def test_the_lanes_of_sixty_four_workers_are_still_read(tmp_path: Path) -> None:
    story = healthy(tmp_path)
    for job in range(3, 131):
        story.add(job, job / 50).work(job, f"worker-{job % 64 + 1}", job / 50)
    figure = lanes(story.load()).figure
    assert_readable(figure)
    assert len(figure.axes[0].get_yticklabels()) == 64
    assert style.in_order(f"worker-{n}" for n in (10, 9, 2))[-1] == "worker-10"
