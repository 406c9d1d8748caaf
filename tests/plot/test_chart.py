"""Charts of what a notebook measured itself."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

import streamlab as sl
from streamlab.errors import UsageError
from tests.plot.boxes import assert_readable, texts

LONG, UNBROKEN = "a way with quite a long name", "a_name_that_cannot_be_broken"


def test_a_line_has_its_points_and_gaps_where_nothing_was_measured() -> None:
    figure = sl.line_chart({"stream": {10: 210, 1: 90}, "list": {1: 60, 5: None}}, x="fields", y="bytes").figure
    stream, other = figure.axes[0].lines
    assert list(stream.get_xdata()) == [1, 5, 10], "in the order of x"
    assert list(np.isnan(stream.get_ydata())) == [False, True, False]
    assert list(np.isnan(other.get_ydata())) == [False, True, True]
    assert stream.get_color() != other.get_color()
    assert {"fields", "bytes", "stream", "list"} <= set(texts(figure))


def test_bars_stand_side_by_side_or_on_one_another() -> None:
    table = pd.DataFrame({"fast": [80, 60], "slow": [20, 40]}, index=["COUNT 1", "COUNT 10"])
    assert len(sl.line_chart(table, x="", y="messages").figure.axes[0].lines) == 2
    for series in (table, table.to_dict()):
        beside = sl.bar_chart(series, x="", y="messages").figure.axes[0].patches
        stacked = sl.bar_chart(series, x="", y="messages", stacked=True).figure.axes[0].patches
        assert [bar.get_y() for bar in beside] == [0, 0, 0, 0]
        assert [bar.get_y() for bar in stacked] == [0, 0, 80, 60]
        ends = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for bar in beside)
        assert all(left[1] <= right[0] + 1e-9 for left, right in pairwise(ends))


def test_lines_are_readable() -> None:
    figure = sl.line_chart({"": {1: 0.002, 50_000: 0.3}}, x="messages", y="seconds", log="xy").figure
    assert {"0.005", "0.1", "10", "10k"} <= set(texts(figure))
    series = {f"{n} {LONG}": {1: 0.002 * n, 100: 0.02, 400: 2.1} for n in range(1, 10)}
    mark = {"the left edge, at some length": 1, "capacity, at some length": 400, LONG: 395}
    for log in ("", "xy"):
        figure = sl.line_chart(series, x="messages/s", y="latency, s", title="Latency", mark=mark, log=log).figure
        assert_readable(figure)
        right = figure.axes[0].get_window_extent().x1
        assert all(text.get_window_extent().x1 <= right for text in figure.axes[0].texts), "not on the legend"


def test_the_names_of_bars_are_readable() -> None:
    for name, number in (("", 1), ("w", 40), (LONG, 4), (LONG, 40), (UNBROKEN, 12)):
        bars = {"": {f"{name} {n}": n for n in range(number)}}
        figure = sl.bar_chart(bars, x="way", y="messages", title="Who").figure
        assert_readable(figure, rotated=name in (LONG, UNBROKEN))


def test_nothing_to_draw_is_told() -> None:
    for draw in (sl.line_chart, sl.bar_chart):
        with pytest.raises(UsageError, match="nothing to draw"):
            draw({}, x="", y="")
