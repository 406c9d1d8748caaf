"""The moving pictures."""

import re
from xml.etree import ElementTree

from streamlab.history.metrics import STEP, Mark, Metrics
from streamlab.live.frame import consumer_colours, frame

COLOURS = consumer_colours(["worker-1", "worker-2"])


def drawn(marks=(), **more):
    steps = 8
    values = {
        "time": [step * STEP for step in range(steps)],
        "pending": {"worker-2": [2.0] * 7 + [None], "worker-1": [1.0] * 4 + [None] * 4},
        "lag": [0.0, 1.0, 5.0, None, None, 2.0, 1.0, 0.0],
        **dict.fromkeys(("added", "done", "p50", "p99", "oldest"), [1.0] * steps),
    }
    look = Metrics(**(values | {"held": {}, "offered": 0, "finished": 0, "claimed": 0} | more))
    return ElementTree.fromstring(frame(look, list(marks), COLOURS))


def path(tree, colour):
    return next(it.get("d") for it in tree.iter("path") if colour in (it.get("fill"), it.get("stroke")))


def texts(tree):
    return ["".join(it.itertext()) for it in tree.iter("text")]


def test_what_is_not_known_is_a_gap_and_consumers_stand_on_each_other_in_the_order_of_names():
    tree = drawn()
    lag = path(tree, "#E69F00")
    assert (lag.count("M"), lag.count("L")) == (2, 6 - 2)
    first, second = (re.findall(r"M[\d.]+ ([\d.]+)h[\d.]+V([\d.]+)", path(tree, COLOURS[name])) for name in COLOURS)
    assert first == [("0.0", "1.0")] * 4
    assert second == [("1.0", "3.0")] * 4 + [("0.0", "2.0")] * 3


def test_faults_are_shaded_as_long_as_they_last_and_named_where_there_is_room():
    marks = [Mark("kill worker-2", "worker", 0.5), Mark("cut <b>", "wire", 1.0, 1.0), Mark("third", "redis", 1.1, 1.2)]
    tree = drawn(marks)
    assert [name for name in texts(tree) if name in {mark.name for mark in marks}] == ["kill worker-2", "cut <b>"]
    shades = [it for it in tree.iter("rect") if it.find("title").text == "kill worker-2"]
    assert len(shades) == 4
    assert {float(it.get("x")) + float(it.get("width")) for it in shades} == {8 * STEP}, "until now, not longer"


def test_what_ended_before_the_picture_begins_is_not_in_it():
    time = [60 + step * STEP for step in range(8)]
    tree = drawn([Mark("old", "worker", 1.0, 2.0), Mark("goes on", "worker", 1.0)], time=time)
    assert [it.text for it in tree.iter("title")] == ["goes on"] * 4
    assert "goes on" not in texts(tree), "its beginning is not to be seen"


def test_a_run_that_has_just_begun_can_be_drawn_and_text_takes_the_colour_of_the_page():
    nothing = {name: [] for name in ("time", "lag", "added", "done", "p50", "p99", "oldest")}
    tree = drawn([Mark("redis-freeze", "redis", 0.0, 1.0)], pending={}, **nothing)
    assert [it.get("fill") for it in tree] == ["currentColor"] * 4
    assert not [it for it in tree.iter("text") if it.get("fill")]
    assert "#222222" not in ElementTree.tostring(tree, "unicode"), "ink is invisible on a dark page"
