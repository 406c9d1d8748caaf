"""Faults in a picture: shaded or a line, coloured by family, named without burying what they explain."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from streamlab.plot import timeline
from streamlab.plot.faults import FAMILIES
from tests.histories import healthy
from tests.plot.boxes import assert_readable, drawn


def struck(folder: Path, *faults: tuple) -> Figure:
    """Ten seconds with these faults: name, start, end (None = never), family."""
    story = healthy(folder).sample(0.0, "pending", 1, "worker-1").sample(10.0, "pending", 1, "worker-1")
    for number, (name, start, end, *family) in enumerate(faults):
        story.fault(name, "", start, end, index=number, **({"family": family[0]} if family else {}))
    return timeline("pel", story.load()).figure


def names(figure: Figure) -> list[str]:
    return [text.get_text() for text in drawn(figure, "fault name")]


def test_shaded_as_long_as_it_lasts_and_an_instant_is_a_line(tmp_path: Path) -> None:
    figure = struck(tmp_path, ("pause", 1, 3), ("xdel", 4, 4), ("flushall", 5, 5.001), ("kill", 7, None))
    spans = [(shade.get_x(), shade.get_x() + shade.get_width()) for shade in drawn(figure, "shade")]
    assert spans == [pytest.approx((1, 3)), pytest.approx((7, 10))]
    assert [line.get_xdata()[0] for line in drawn(figure, "fault")] == pytest.approx([1, 4, 5, 7])


def test_each_family_has_a_colour_a_sign_and_its_word(tmp_path: Path) -> None:
    faults = [(f"f{n}", n * 2 + 1, n * 2 + 2, family) for n, family in enumerate(FAMILIES)]
    figure = struck(tmp_path, *faults, ("f4", 9, 9.5, "weather"))
    assert names(figure) == ["✕ f0", "↯ f1 (wire)", "▣ f2 (redis)", "⚒ f3 (operator)", "✕ f4"]
    shades = [tuple(shade.get_facecolor()[:3]) for shade in drawn(figure, "shade")]
    assert shades[:4] == [to_rgba(family.colour)[:3] for family in FAMILIES.values()]
    assert len({family.dashes for family in FAMILIES.values()}) == 4


def test_names_stand_on_each_other_and_those_without_room_are_counted(tmp_path: Path) -> None:
    late = ("kill the worker called worker-12", 9.9, None)
    figure = struck(tmp_path / "few", *((f"hold the replies of XREADGROUP {n}", 2 + n / 10, 5) for n in range(3)), late)
    assert_readable(figure)
    assert names(figure)[-1] == "kill the worker called worker-12 ✕", "no room to the right"
    at_once = [(f"a rather long name of a fault, the {n}th", 9.0, None) for n in range(6)]
    for faults in (at_once, [(f"fault {n}", n / 25, n / 25 + 0.01) for n in range(250)]):
        figure = struck(tmp_path / str(len(faults)), *faults)
        assert_readable(figure)
        unnamed = len(faults) - len(names(figure))
        assert figure.axes[0].get_title("left").endswith(f" (and {unnamed} faults without a name)")
        assert figure.axes[0].get_window_extent().height / 100 > 2, "the picture itself keeps its room"
