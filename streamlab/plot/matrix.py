"""Faults against verdicts: a table to be read at a glance, and by a colour-blind reader too."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from streamlab.errors import UsageError
from streamlab.plot import style
from streamlab.plot.picture import Picture

#: A verdict's sign and colour; '' is a cell that was not tried.
_VERDICTS = {
    "valid": ("✓", style.mixed(style.GREEN, "white", 0.55)),
    "invalid": ("✗", style.mixed(style.VERMILION, "white", 0.3)),
    "unknown": ("?", style.mixed(style.PURPLE, "white", 0.6)),
    "": ("", (0.95, 0.95, 0.95)),
}
_KEY = "✓ valid    ✗ invalid    ? unknown    empty: not tried"
_CELL = (0.85, 0.5)  # inches
_HEAD = 0.65  # inches, for the title and the key
_NAME, _WORDS = 36, 13  # letters a line


@style.styled
def matrix(
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Mapping[tuple[str, str], tuple[str, str]],
    title: str = "Faults against verdicts",
) -> Picture:
    """A table of verdicts.

    Args:
        rows: the names on the left: workers, or their mistakes.
        columns: the names above: faults.
        cells: for (row, column) the verdict ('valid', 'invalid', 'unknown' or '' = not tried) and a few words such as
            '12 lost', two short lines at most; what is missing was not tried.
        title: stands above it.

    Raises:
        UsageError: no row or no column, a cell of no such row or column, or another verdict.
    """
    if not rows or not columns:
        raise UsageError(f"a matrix of {len(rows)} rows and {len(columns)} columns: expected one of each at least")
    for (row, column), (verdict, _) in cells.items():
        if row not in rows or column not in columns:
            raise UsageError(f"cell ({row!r}, {column!r}): expected one of the rows and one of the columns")
        if verdict not in _VERDICTS:
            raise UsageError(f"cell ({row!r}, {column!r}): verdict {verdict!r}, expected valid, invalid, unknown or ''")
    figure = Figure(figsize=(9, 5))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, len(columns)), ylim=(len(rows), 0))
    axes.spines[:].set_visible(False)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_yticks([n + 0.5 for n in range(len(rows))], [_name(name) for name in rows])
    leaning: dict[str, Any] = {"rotation": 45, "ha": "left", "va": "bottom", "rotation_mode": "anchor"}
    axes.set_xticks([n + 0.5 for n in range(len(columns))], [_name(name) for name in columns], **leaning)
    for y, row in enumerate(rows):
        for x, column in enumerate(columns):
            _draw_cell(axes, x, y, *cells.get((row, column), ("", "")))
    _fit(figure, axes, style.plain(title, 80), len(columns) * _CELL[0], len(rows) * _CELL[1])
    return Picture(figure)


def _name(name: str) -> str:
    return textwrap.fill(style.plain(name, 120), _NAME)


def _draw_cell(axes: Axes, x: int, y: int, verdict: str, text: str) -> None:
    """Its colour, its sign, and two lines of words at most: a third finds no room."""
    lines = [part for line in str(text).splitlines() for part in textwrap.wrap(line, _WORDS)]
    if len(lines) > 2:
        lines[1:] = [lines[1][: _WORDS - 1] + "…"]
    sign, colour = _VERDICTS[verdict]
    axes.add_patch(
        Rectangle((x, y), 1, 1, facecolor=colour, edgecolor="white", linewidth=2, gid=verdict or "not tried")
    )
    words = "\n".join(style.plain(line, _WORDS) for line in lines)
    for what, at, size in ((sign, 0.3 if words else 0.5, 11), (words, 0.68, 7)):
        axes.text(x + 0.5, y + at, what, fontsize=size, ha="center", va="center", linespacing=0.95)


def _fit(figure: Figure, axes: Axes, title: str, wide: float, high: float) -> None:
    """Make the sheet as large as the names and a table of this size (inches) need it: they are measured."""
    figure.draw_without_rendering()
    whole = axes.get_window_extent()
    columns = [name.get_window_extent() for name in axes.get_xticklabels()]
    left = max(name.get_window_extent().width for name in axes.get_yticklabels()) / style.DPI + 0.25
    above = (max(box.y1 for box in columns) - whole.y1) / style.DPI + _HEAD
    # A column's name leans to the right, beyond the last column too.
    right = max(n * _CELL[0] + box.width / style.DPI for n, box in enumerate(columns, start=1))
    width, height = max(5.5, left + max(wide, right) + 0.1), above + high + 0.15
    figure.set_size_inches(width, height)
    axes.set_position((left / width, 0.15 / height, wide / width, high / height))
    for text, drop, points in ((title, 0.1, style.TITLE), (_KEY, 0.38, style.SMALL)):
        figure.text(0.15 / width, 1 - drop / height, text, va="top", fontsize=points)
