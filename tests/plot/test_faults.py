"""Faults in a picture: shaded or a line, coloured by family, named without burying what they explain."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.colors import to_rgba

from streamlab.history import History
from streamlab.plot import pel
from streamlab.plot.faults import FAMILIES
from tests.histories import healthy
from tests.plot.boxes import assert_readable, drawn, texts


def struck(folder: Path, *faults: tuple) -> History:
    """Ten seconds with these faults: name, start, end (None = never), family."""
    story = healthy(folder).sample(0.0, "pending", 1, "worker-1").sample(10.0, "pending", 1, "worker-1")
    for number, (name, start, end, *family) in enumerate(faults):
        more = {"family": family[0]} if family else {}
        story.fault(name, "", start, end, index=number, **more)
    return story.load()


def spans(figure) -> list[tuple[float, float]]:
    return [(shade.get_x(), shade.get_x() + shade.get_width()) for shade in drawn(figure, "shade")]


def lines(figure) -> list[float]:
    return [line.get_xdata()[0] for line in drawn(figure, "fault")]


def names(figure) -> list[str]:
    return [text.get_text() for text in drawn(figure, "fault name")]


def test_shaded_as_long_as_it_lasts_and_an_instant_is_a_line(tmp_path: Path) -> None:
    figure = pel(struck(tmp_path, ("pause", 1, 3), ("xdel", 4, 4), ("flushall", 5, 5.001), ("kill", 7, None))).figure
    assert spans(figure) == [pytest.approx((1, 3)), pytest.approx((7, 10))]
    assert lines(figure) == pytest.approx([1, 4, 5, 7])


def test_each_family_has_a_colour_a_sign_and_its_word(tmp_path: Path) -> None:
    faults = [(f"f{n}", n * 2 + 1, n * 2 + 2, family) for n, family in enumerate(FAMILIES)]
    figure = pel(struck(tmp_path / "known", *faults)).figure
    assert names(pel(struck(tmp_path / "unknown", ("f", 1, 2, "weather"), ("g", 5, 6))).figure) == ["✕ f", "✕ g"]
    assert names(figure) == ["✕ f0", "↯ f1 (wire)", "▣ f2 (redis)", "⚒ f3 (operator)"]
    shades = [tuple(shade.get_facecolor()[:3]) for shade in drawn(figure, "shade")]
    assert shades == [to_rgba(family.colour)[:3] for family in FAMILIES.values()]
    assert len({str(line.get_linestyle()) + str(line._dash_pattern) for line in drawn(figure, "fault")}) == 4


def test_names_of_faults_do_not_overlap(tmp_path: Path) -> None:
    faults = [(f"hold the replies of XREADGROUP {n}", 2 + n / 10, 5) for n in range(3)]
    figure = pel(struck(tmp_path, *faults, ("kill the worker called worker-12", 9.9, None))).figure
    assert_readable(figure)
    assert [name for name in names(figure) if name.endswith("✕")] == ["kill the worker called worker-12 ✕"], (
        "no room to the right"
    )


def test_twenty_faults_get_numbers_and_a_list(tmp_path: Path) -> None:
    faults = [(f"hold the replies of XACK {n:02}", n / 2, n / 2 + 0.3, list(FAMILIES)[n % 4]) for n in range(20)]
    figure = pel(struck(tmp_path, *faults)).figure
    assert_readable(figure)
    assert names(figure) == [str(n + 1) for n in range(20)]
    assert "20  hold the replies of XACK 19 (operator), 9.50 s" in texts(figure)
    (legend,) = figure.legends
    assert len(legend.get_texts()) == 20
    tall = figure.get_figheight()
    assert figure.axes[0].get_window_extent().height / 100 > 2, "the picture itself keeps its room"
    assert tall > 4


def test_hundreds_of_faults_do_not_make_a_book_of_it(tmp_path: Path) -> None:
    figure = pel(struck(tmp_path, *((f"fault {n}", n / 25, n / 25 + 0.01) for n in range(250)))).figure
    assert_readable(figure)
    assert "and 220 more" in texts(figure)
    assert any("-" in name for name in names(figure)), "neighbours share a number"
    assert names(figure)[-1].endswith("250")


def test_faults_at_one_moment(tmp_path: Path) -> None:
    figure = pel(struck(tmp_path, *((f"a rather long name of a fault, the {n}th", 9.0, None) for n in range(6)))).figure
    assert_readable(figure)
    assert names(figure) == ["1-6"]
