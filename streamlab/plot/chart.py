"""Charts of measurements that are no history: what a notebook counts or times itself, in the style of all pictures."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from streamlab.errors import UsageError
from streamlab.plot import style
from streamlab.plot.picture import Picture

#: A name and its points each, {x: y}; or a table whose index is x and whose columns are the series.
Series: TypeAlias = Mapping[str, Mapping[Any, float]] | pd.DataFrame
Log: TypeAlias = Literal["", "x", "y", "xy"]


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
    for name, colour in zip(table.columns, _colours(len(table.columns)), strict=True):
        points = table[name]
        axes.plot(table.index, points, "o-", color=colour, markersize=4, linewidth=1.6, label=style.plain(name))
    if "x" in log:
        axes.set_xscale("log")
    if pd.api.types.is_numeric_dtype(table.index):
        _amounts(axes.xaxis, "x" in log)
    _finish(axes, x, y, title, log)
    for row, (name, at) in enumerate((mark or {}).items()):
        _mark(axes, name, at, row)
    if len(table.columns) > 1:
        style.legend(axes)
    return Picture(figure)


def bar_chart(series: Series, *, x: str, y: str, title: str = "", log: Log = "", stacked: bool = False) -> Picture:
    """Bars, a group for each x and a colour for each series.

        sl.bar_chart({"fast": {"COUNT 1": 8, "COUNT 10": 6}, "slow": {"COUNT 1": 2, "COUNT 10": 4}}, x="", y="messages")

    Args and errors as in `line_chart`; `stacked` puts the series on one another; `log` may be "y".
    """
    table = _table(series)
    figure, (axes,) = style.sheet(1, 4)
    places, number = np.arange(len(table.index)), len(table.columns)
    width, below = 0.8 if stacked else 0.8 / number, np.zeros(len(places))
    for n, (name, colour) in enumerate(zip(table.columns, _colours(number), strict=True)):
        heights = table[name].fillna(0).to_numpy(float)
        at = places if stacked else places + (n - (number - 1) / 2) * width
        axes.bar(at, heights, width, bottom=below if stacked else None, color=colour, label=style.plain(name))
        below += heights
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


def _colours(number: int) -> list[style.Colour]:
    return list(style.consumer_colours(str(n) for n in range(number)).values())


def _finish(axes: Axes, x: str, y: str, title: str, log: Log) -> None:
    style.label(axes, title, y, seconds=False)
    axes.set_xlabel(x, fontsize=style.TEXT, color=style.INK)
    if "y" in log:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    _amounts(axes.yaxis, "y" in log)


def _amounts(axis: Axis, logarithmic: bool) -> None:
    """0.02, 5, 10k."""
    if logarithmic:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
        axis.set_minor_formatter(NullFormatter())
    thousands = EngFormatter(sep="")
    axis.set_major_formatter(lambda value, _: thousands(value) if abs(value) >= 1000 else f"{value:g}")


def _mark(axes: Axes, name: str, at: float, row: int) -> None:
    """A dashed line with its name on the side where there is room, each name in a row of its own."""
    axes.axvline(at, color=style.INK, linestyle="dashed", linewidth=1.2)
    axes.set_xlim(axes.get_xlim())  # the next line must not move this one
    right = axes.transAxes.inverted().transform(axes.transData.transform((at, 1)))[0] > 0.5
    axes.annotate(
        style.plain(name, 60),
        (at, 1),
        xycoords=("data", "axes fraction"),
        xytext=(-4 if right else 4, -4 - 14 * row),
        textcoords="offset points",
        ha="right" if right else "left",
        va="top",
        color=style.INK,
        fontsize=style.SMALL,
        path_effects=style.HALO,
    )


_ROW = 110  # letters that fit under the bars, side by side


def _name_bars(axes: Axes, names: list[str]) -> None:
    """Names in several lines where that is enough for them, else slanting."""
    width = max(1, _ROW // len(names))
    broken = [fill(name, width, break_long_words=False) for name in names]
    if max(len(line) for name in broken for line in name.splitlines() or [""]) <= width:
        axes.set_xticks(range(len(names)), broken)
    else:
        axes.set_xticks(range(len(names)), names, rotation=30, ha="right", rotation_mode="anchor")
