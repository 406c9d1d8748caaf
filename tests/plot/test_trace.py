"""One message's life as a drawing."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamlab.report import Trace
from tests.histories import Story, crash
from tests.plot.boxes import assert_readable, drawn, texts


def test_lanes_marks_and_words(tmp_path: Path) -> None:
    figure = Trace.of(crash(tmp_path).load(), 53).plot().figure
    assert_readable(figure)
    lanes = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert lanes == ["plan", "producer", "Redis", "worker-1", "worker-2"]
    said = "\n".join(texts(figure))
    for words in (
        "1.425 s  due",
        "sends the XADD",
        "2.530 s  done: the effect exists",
        "✕ kill worker-2",
        "held by worker-2",
    ):
        assert words in said
    marks = {mark.get_ydata()[0]: mark.get_xdata() for mark in drawn(figure, "moments") if len(mark.get_xdata())}
    places = dict(zip(lanes, figure.axes[0].get_yticks(), strict=True))
    assert list(marks[places["worker-1"]]) == pytest.approx([2.5, 2.5, 2.53, 2.531])
    assert list(marks[places["worker-2"]]) == pytest.approx([1.427])
    left, right = figure.axes[0].get_xlim()
    assert left < 1.425
    assert right > 2.531


def test_redis_knows_whose_it_is(tmp_path: Path) -> None:
    figure = Trace.of(crash(tmp_path).load(), 53).plot().figure
    pieces = [(piece.get_x(), piece.get_x() + piece.get_width()) for piece in drawn(figure, "held")]
    assert pieces == [pytest.approx(span) for span in [(1.426, 1.427), (1.427, 2.5), (2.5, 2.531)]]
    (ways,) = drawn(figure, "ways")
    assert ways.N == 4, "added, read, claimed, acknowledged"


def test_the_fault_is_shaded_in_the_lane_of_its_holder(tmp_path: Path) -> None:
    figure = Trace.of(crash(tmp_path).load(), 53).plot().figure
    (shade,) = drawn(figure, "shade")
    places = dict(zip(("plan", "producer", "Redis", "worker-1", "worker-2"), figure.axes[0].get_yticks(), strict=True))
    box = shade.get_paths()[0].get_extents()
    assert places["worker-1"] < box.y0 < places["worker-2"] < box.y1
    assert box.x0 == pytest.approx(1.5)
    (cross,) = drawn(figure, "crash")
    assert (list(cross.get_xdata()), list(cross.get_ydata())) == ([1.5], [places["worker-2"]])


def test_a_message_that_is_tried_for_ever(tmp_path: Path) -> None:
    """Words of many attempts stand together, the middle ones left out, and still nothing covers anything."""
    story = Story(tmp_path).add(0, 0.1)
    for attempt in range(60):
        story.work(
            0, f"worker-{attempt % 2 + 1}", 0.2 + attempt, "claimed started failed retry", deliveries=attempt + 1
        )
        story.event("failed", "worker-1", 0.25 + attempt, 0, note="$x$ " * 40 + "\n<b>\U0001f600")
    figure = Trace.of(story.load(), 0).plot().figure
    assert_readable(figure)
    assert any("more" in text for text in texts(figure))
    assert figure.get_figheight() < 12


def test_a_message_without_a_worker(tmp_path: Path) -> None:
    figure = Trace.of(Story(tmp_path).add(0, 0.1).end().load(), 0).plot().figure
    assert_readable(figure)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["plan", "producer", "Redis"]


def test_what_came_after_the_last_event_of_a_message_that_did_not_end(tmp_path: Path) -> None:
    """It was lost by the first of two FLUSHALL; a message that ended before it has nothing to do with it."""
    story = Story(tmp_path).add(0, 0.1).add(1, 0.2).work(1, "worker-1", 0.3)
    for at in (0.8, 1.6):
        story.fault("flushall", "redis", at, at, family="redis")
    history = story.end().load()
    lost = Trace.of(history, 0)
    assert lost.lines()[-1] == (pytest.approx(0.8), "lab", "flushall redis")
    figure = lost.plot().figure
    assert len(drawn(figure, "fault name")) == 1
    assert figure.axes[0].get_xlim()[1] > 0.8
    assert_readable(figure)
    assert not len(Trace.of(history, 1).faults)


def test_who_was_hit_by_what_is_said_in_words(tmp_path: Path) -> None:
    story = Story(tmp_path).add(0, 0.1).work(0, "worker-1", 0.2, "read").fault("fail", "all", 0.0, index=3)
    story.event("fault_hit", "worker-1", 0.3, 0, note='{"index": 3}')
    assert "worker-1  was hit by fail all" in str(Trace.of(story.end().load(), 0))


def test_one_event(tmp_path: Path) -> None:
    history = Story(tmp_path).event("read", "worker-1", 0.9, entry="9-9").load()
    assert_readable(Trace.of(history, "9-9").plot().figure)


def test_produced_twice(tmp_path: Path) -> None:
    story = Story(tmp_path).add(0, 0.1).event("added", "producer", 0.3, 0, entry="1700000000999-0")
    story.work(0, "worker-1", 0.4).work(0, "worker-2", 0.6, entry="1700000000999-0")
    figure = Trace.of(story.end().load(), 0).plot().figure
    assert len(drawn(figure, "held")) == 4
    assert_readable(figure)
