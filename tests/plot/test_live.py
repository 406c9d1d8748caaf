"""The pictures of a run that goes on."""

import re
from xml.etree import ElementTree

from streamlab.history.metrics import STEP, Mark, Metrics
from streamlab.plot.live import consumer_colours, frame


def looked(**more):
    steps = 8
    row = [1.0] * steps
    values = {
        "time": [step * STEP for step in range(steps)],
        "pending": {"worker-2": [2.0] * steps, "worker-1": [1.0] * 4 + [None] * 4},
        "lag": [0.0, 1.0, 5.0, None, None, 2.0, 1.0, 0.0],
        **dict.fromkeys(("added", "done", "p50", "p99", "oldest"), row),
    }
    return Metrics(**(values | {"held": {}, "offered": 0, "finished": 0, "claimed": 0} | more))


def drawn(look, marks=()):
    text = frame(look, list(marks), consumer_colours(look.pending))
    return text, ElementTree.fromstring(text)


def paths(tree, colour):
    return [it.get("d") for it in tree.iter("path") if colour in {it.get("fill"), it.get("stroke")}]


def test_a_gap_in_the_samples_is_a_gap_in_the_line():
    _, tree = drawn(looked())
    (lag,) = paths(tree, "#E69F00")  # the second consumer's area has the same colour, in small letters
    assert lag.count("M") == 2
    assert lag.count("L") == 6 - 2


def test_areas_stand_on_each_other_in_the_order_of_names():
    _, tree = drawn(looked())
    colours = consumer_colours(["worker-1", "worker-2"])
    (first,), (second,) = (paths(tree, colours[name]) for name in colours)
    ground = max(float(y) for y in re.findall(r"M[\d.]+ ([\d.]+)H", first))
    bases = [float(y) for y in re.findall(r"M[\d.]+ ([\d.]+)H", second)]
    assert len(bases) == 8
    assert bases[0] < ground, "on top of worker-1"
    assert bases[-1] == ground, "worker-1 holds nothing then"


def test_where_nobody_answered_there_is_no_area():
    _, tree = drawn(looked(pending={"worker-1": [1.0, None] + [1.0] * 6}))
    (area,) = paths(tree, consumer_colours(["worker-1"])["worker-1"])
    assert area.count("M") == 7


def test_faults_are_shaded_as_long_as_they_lasted_and_named_where_there_is_room():
    marks = [Mark("kill worker-2", "worker", 0.5), Mark("cut <b>", "wire", 1.0, 1.0), Mark("third", "redis", 1.1, 1.2)]
    text, tree = drawn(looked(), marks)
    names = [it.text for it in tree.iter("text")]
    assert names.count("kill worker-2") == 1
    assert names.count("cut <b>") == 1
    assert "third" not in names
    assert "<b>" not in text
    shades = [it for it in tree.iter("rect") if it.find("title").text == "kill worker-2"]
    assert len(shades) == 4
    assert len({float(it.get("width")) for it in shades}) == 1
    until = float(shades[0].get("x")) + float(shades[0].get("width"))
    now = max(float(x) for x in re.findall(r"[ML]([\d.]+) ", paths(tree, "#009E73")[0]))
    assert abs(until - now) < 0.2, "what goes on is shaded until now, and not into the future"


def test_what_ended_before_the_picture_begins_is_not_in_it():
    time = [60 + step * STEP for step in range(8)]
    text, _ = drawn(looked(time=time), [Mark("old", "worker", 1.0, 2.0), Mark("goes on", "worker", 1.0)])
    assert "old<" not in text
    assert text.count("<title>goes on</title>") == 4
    assert ">goes on</text>" not in text, "its beginning is not to be seen"


def test_a_run_that_has_just_begun_can_be_drawn():
    _, tree = drawn(looked(time=[], pending={}, **{n: [] for n in ("lag", "added", "done", "p50", "p99", "oldest")}))
    assert len(tree.findall("g")) == 4


def test_text_has_the_colour_of_its_surroundings():
    text, tree = drawn(looked(), [Mark("redis-freeze", "redis", 0.5, 1.0)])
    assert tree.get("fill") == "currentColor"
    assert not [it for it in tree.iter("text") if it.get("fill")]
    assert "#222222" not in text, "ink is invisible on a dark ground"
