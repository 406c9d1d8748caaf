"""The pictures: who holds how many messages, and how long each message took."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from streamlab.history import History
from streamlab.plot import style
from streamlab.plot.picture import Picture

_GAP = 3  # sample intervals without a sample are a gap
_DENSE = 20_000  # points and more are drawn as density
_QUANTILES = {0.50: "solid", 0.95: "dashed", 0.99: "dotted"}


def pel(history: History) -> Picture:
    """The pending entries list's size over time, by consumer, the faults shaded and named."""
    figure, (axes,) = style.sheet(1, 4)
    _draw_pel(axes, history)
    style.draw_faults([axes], history.faults, _end(history))
    return Picture(figure)


def latency(history: History) -> Picture:
    """How long each message took from its due time to its first done, at the time when it was due."""
    figure, (axes,) = style.sheet(1, 4)
    _draw_latency(axes, history)
    style.draw_faults([axes], history.faults, _end(history))
    return Picture(figure)


def overview(history: History) -> Picture:
    """Both, one above the other, on the same seconds."""
    figure, (upper, lower) = style.sheet(2, 7)
    _draw_pel(upper, history, seconds=False)
    _draw_latency(lower, history)
    style.draw_faults([upper, lower], history.faults, _end(history))
    return Picture(figure)


def _end(history: History) -> float:
    return max(history.end, 0.1)


def _draw_pel(axes: Axes, history: History, seconds: bool = True) -> None:
    """Areas on top of each other, so that their upper edge is the whole group's PEL."""
    samples = history.samples
    style.label(axes, "Pending entries, by the consumer that holds them", "messages pending", seconds)
    axes.set_xlim(0, _end(history))
    ticks = samples["time"].unique()
    pending = samples[(samples["metric"] == "pending").to_numpy()]
    if pending.empty:
        axes.set_yticks([])
        style.nothing(axes, "no samples of the pending entries")
        return
    wide = pending.pivot_table("value", "time", "consumer", aggfunc="last", observed=True).reindex(ticks)
    colours = style.consumer_colours(str(name) for name in wide.columns)
    # Nobody's entries where there are no consumers yet; nothing at all where the probe got no answer about them.
    seen = wide.notna().any(axis=1).to_numpy()
    time, rows = _with_gaps(ticks, np.where(seen[:, None], wide.fillna(0).to_numpy(), np.nan))
    lower = np.zeros(len(time))
    for name, colour in colours.items():
        upper = lower + rows[:, wide.columns.get_loc(name)]
        axes.fill_between(time, lower, upper, step="post", label=name, facecolor=colour, linewidth=0)
        lower = upper
    axes.set_ylim(0, max(1.0, float(np.nanmax(lower)) * 1.05))
    style.whole_numbers(axes)
    style.legend(axes, stacked=True)


def _with_gaps(
    time: npt.NDArray[np.float64], rows: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """A value holds until the next sample; where that is missing it ends after an interval, with a row of nothing."""
    if len(time) < 2:
        return time, rows
    steps = np.diff(time)
    interval = float(np.median(steps))
    before = np.flatnonzero(steps > _GAP * interval) + 1
    return np.insert(time, before, time[before - 1] + interval), np.insert(rows, before, np.nan, axis=0)


def _draw_latency(axes: Axes, history: History) -> None:
    style.label(axes, "Latency: from due to done, at the time when due", "latency")
    axes.set_xlim(0, _end(history))
    jobs = history.jobs[history.jobs["latency"].notna().to_numpy()]
    if jobs.empty:
        axes.set_yticks([])
        style.nothing(axes, "no message with a due time was done")
        return
    # A clock has no negative durations; a message done within its own microsecond still has a place on a log axis.
    took = jobs["latency"].clip(lower=1e-6)
    reclaimed = (jobs["reclaimed"] > 0).to_numpy()
    logarithmic = took.max() > 20 * took.quantile(0.05)
    if not logarithmic:
        axes.set_ylim(0, took.max() * 1.1)
    if len(jobs) >= _DENSE:
        _density(axes, jobs["due"], took, logarithmic)
    else:
        _points(axes, jobs["due"][~reclaimed], took[~reclaimed], reclaimed=False)
    if reclaimed.any():
        _points(axes, jobs["due"][reclaimed], took[reclaimed], reclaimed=True)
    for quantile, dashes in _QUANTILES.items():
        value = float(took.quantile(quantile))
        name = f"p{quantile * 100:.0f}  {_duration(value)}"
        halo = [withStroke(linewidth=3, foreground="white", alpha=0.6)]
        axes.axhline(value, color=style.INK, linestyle=dashes, linewidth=1.3, label=name, path_effects=halo, zorder=2.5)
    style.durations(axes, logarithmic)  # after the density, which brings its own scale
    style.legend(axes)


def _points(axes: Axes, due: pd.Series[float], took: pd.Series[float], reclaimed: bool) -> None:
    name, marker, colour = ("reclaimed", "D", style.VERMILION) if reclaimed else ("normal", "o", style.BLUE)
    size = 4.5 if len(due) < 1000 else 2.5
    label = f"{name} ({len(due):,})"
    axes.plot(due, took, marker, color=colour, markersize=size, markeredgewidth=0, alpha=0.8, zorder=3, label=label)


def _density(axes: Axes, due: pd.Series[float], took: pd.Series[float], logarithmic: bool) -> None:
    scale: Literal["log", "linear"] = "log" if logarithmic else "linear"
    cells = axes.hexbin(due, took, gridsize=(90, 30), yscale=scale, bins="log", mincnt=1, cmap="Blues", vmin=0.2)
    bar = axes.figure.colorbar(cells, ax=axes, location="bottom", aspect=60, shrink=0.5, pad=0.02)
    bar.set_label(f"messages in a cell ({len(due):,} in all)", fontsize=style.SMALL, color=style.INK)
    bar.ax.tick_params(labelsize=style.SMALL, colors=style.INK)


def _duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"
