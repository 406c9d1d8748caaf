"""Charts of measurements that are no history: what a notebook counts or times itself, in the style of all pictures."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from streamlab.errors import UsageError
from streamlab.plot import style
from streamlab.plot.picture import Picture

#: A name and its points each, {x: y}; or a table whose index is x and whose columns are the series.
Series: TypeAlias = Mapping[str, Mapping[Any, float]] | pd.DataFrame
Log: TypeAlias = Literal["", "x", "y", "xy"]

_ROW = 110  # letters that fit under the bars, side by side


@style.styled
def line_chart(
    series: Series, *, x: str, y: str, title: str = "", log: Log = "", mark: Mapping[str, float] | None = None
) -> Picture:
    """Lines with a dot at each measurement.

        sl.line_chart({"stream": {1: 90, 10: 210}, "list": {1: 60, 10: 190}}, x="fields an entry", y="bytes an entry")

    Args:
        series: a name and its points each, or a table with x as its index. What is missing is a gap, not zero.
        x: what stands at the horizontal axis, with its unit.
        y: what stands at the vertical axis, with its unit.
        title: stands above it.
        log: which axes are logarithmic.
        mark: names of points on the horizontal axis, each drawn as a dashed line: {"capacity": 100.0}.

    Raises UsageError where there is nothing to draw.
    """
    table = _table(series)
    figure, (axes,) = style.sheet(1, 4)
    axes.set_prop_cycle(color=_colours(table))
    for name in table.columns:
        axes.plot(table.index, table[name], "o-", markersize=4, linewidth=1.6, label=style.plain(name))
    if "x" in log:
        axes.set_xscale("log")
    if pd.api.types.is_numeric_dtype(table.index):
        style.amounts(axes.xaxis, "x" in log, _short)
    _finish(axes, x, y, title, log)
    for row, (name, at) in enumerate((mark or {}).items()):
        _mark(axes, name, at, row)
    if len(table.columns) > 1:
        style.legend(axes)
    return Picture(figure)


@style.styled
def bar_chart(series: Series, *, x: str, y: str, title: str = "", log: Log = "", stacked: bool = False) -> Picture:
    """Bars, a group for each x and a colour for each series.

        sl.bar_chart({"fast": {"COUNT 1": 8, "COUNT 10": 6}, "slow": {"COUNT 1": 2, "COUNT 10": 4}}, x="", y="messages")

    Args and errors as in `line_chart`; `stacked` puts the series on one another; `log` may be "y".
    """
    table = _table(series).fillna(0)
    figure, (axes,) = style.sheet(1, 4)
    number = len(table.columns)
    width, below = 0.8 if stacked else 0.8 / number, np.zeros(len(table))
    for n, (name, colour) in enumerate(zip(table.columns, _colours(table), strict=True)):
        heights = table[name].to_numpy(float)
        shift = 0 if stacked else (n - (number - 1) / 2) * width
        axes.bar(np.arange(len(table)) + shift, heights, width, below, color=colour, label=style.plain(name))
        below += heights if stacked else 0
    _name_bars(axes, [style.plain(name, 40) for name in table.index])
    axes.grid(visible=False, axis="x")
    _finish(axes, x, y, title, log)
    if number > 1:
        style.legend(axes, stacked)
    return Picture(figure)


def _table(series: Series) -> pd.DataFrame:
    table = series if isinstance(series, pd.DataFrame) else pd.DataFrame({k: dict(v) for k, v in series.items()})
    if table.empty:
        raise UsageError("nothing to draw: expected one series with one point at least")
    # A table made of several series has the x of all, in no order of its own.
    return table.sort_index() if pd.api.types.is_numeric_dtype(table.index) else table


def _colours(table: pd.DataFrame) -> list[style.Colour]:
    return list(style.consumer_colours(map(str, range(len(table.columns)))).values())


def _finish(axes: Axes, x: str, y: str, title: str, log: Log) -> None:
    style.label(axes, title, y, x)
    if "y" in log:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    style.amounts(axes.yaxis, "y" in log, _short)


def _short(value: float, _: float) -> str:
    """0.02, 5, 10k."""
    return EngFormatter(sep="")(value) if abs(value) >= 1000 else f"{value:g}"


def _mark(axes: Axes, name: str, at: float, row: int) -> None:
    """A dashed line with its name on the side where there is room, each name in a row of its own."""
    axes.axvline(at, color=style.INK, linestyle="dashed", linewidth=1.2)
    axes.set_xlim(axes.get_xlim())  # the next line must not move this one
    right = axes.transAxes.inverted().transform(axes.transData.transform((at, 1)))[0] > 0.5
    axes.annotate(
        style.plain(name, 60), (at, 1), xycoords=("data", "axes fraction"), textcoords="offset points",
        xytext=(-4 if right else 4, -4 - 14 * row), ha="right" if right else "left", va="top",
        fontsize=style.SMALL, path_effects=style.HALO,
    )  # fmt: skip


def _name_bars(axes: Axes, names: list[str]) -> None:
    """Names in several lines where that is enough for them, else slanting."""
    width = max(1, _ROW // len(names))
    broken = [fill(name, width, break_long_words=False) for name in names]
    if max(len(line) for name in broken for line in name.splitlines() or [""]) <= width:
        axes.set_xticks(range(len(names)), broken)
    else:
        axes.set_xticks(range(len(names)), names, rotation=30, ha="right", rotation_mode="anchor")
