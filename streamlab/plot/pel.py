"""Who holds how many messages: the pending entries list over time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes

from streamlab.history import History
from streamlab.plot import style
from streamlab.plot.faults import draw_faults
from streamlab.plot.picture import Picture

_GAP = 3  # sample intervals without a sample are a gap


def pel(history: History) -> Picture:
    """The pending entries list's size over time, by consumer, the faults shaded and named."""
    figure, (axes,) = style.sheet(1, 4)
    draw_pel(axes, history)
    draw_faults([axes], history.faults, (0, style.end_of(history)))
    return Picture(figure)


def draw_pel(axes: Axes, history: History, seconds: bool = True) -> None:
    """Areas on top of each other, so that their upper edge is the whole group's PEL."""
    style.label(axes, "Pending entries, by the consumer that holds them", "messages pending", seconds)
    axes.set_xlim(0, style.end_of(history))
    wide = sampled(history, "pending")
    if wide.empty:
        style.nothing(axes, "no samples of the pending entries")
        return
    # Nobody's entries where there are no consumers yet; nothing at all where the probe got no answer about them.
    seen = wide.notna().any(axis=1).to_numpy()
    time, rows = with_gaps(wide.index.to_numpy(), np.where(seen[:, None], wide.fillna(0).to_numpy(), np.nan))
    lower = np.zeros(len(time))
    colours = style.colours(history)
    hatches = style.hatches(colours)
    for name, colour in colours.items():
        if name not in wide.columns:
            continue
        upper = lower + rows[:, wide.columns.get_loc(name)]
        axes.fill_between(
            time,
            lower,
            upper,
            step="post",
            label=style.plain(name),
            facecolor=colour,
            edgecolor="white",
            hatch=hatches[name],
            linewidth=0,
            gid="pending",
        )
        lower = upper
    style.counted(axes, float(np.nanmax(lower)))
    style.legend(axes, stacked=True)


def sampled(history: History, metric: str) -> pd.DataFrame:
    """One metric's samples: a row a moment at which the probe looked, a column a consumer, NaN = no answer."""
    samples = history.samples
    found = samples[(samples["metric"] == metric).to_numpy()]
    return found.pivot_table("value", "time", "consumer", aggfunc="last", observed=True).reindex(
        samples["time"].unique() if len(found) else []
    )


def with_gaps(
    time: npt.NDArray[np.float64], rows: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """A value holds until the next sample; where that is missing it ends after an interval, with a row of nothing.

    Before nothing the value stands once more: an area ends with its last row, and not where that of nothing begins.
    """
    if len(time) < 2:
        return time, rows
    steps = np.diff(time)
    interval = float(np.median(steps))
    before = np.flatnonzero(steps > _GAP * interval) + 1
    time, rows = np.insert(time, before, time[before - 1] + interval), np.insert(rows, before, np.nan, axis=0)
    nothing = np.asarray(np.isnan(rows).all(axis=1))
    ends = np.flatnonzero(nothing[1:] & ~nothing[:-1]) + 1
    return np.insert(time, ends, time[ends]), np.insert(rows, ends, rows[ends - 1], axis=0)
