"""What the sampler saw over time: who holds how many messages, how many are not read yet, and the stream's length."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes

from streamlab.history import History
from streamlab.plot import style

_GAP = 3  # sample intervals without a sample are a gap


def draw_pel(axes: Axes, history: History) -> None:
    """Areas on top of each other, so that their upper edge is the whole group's PEL."""
    style.label(axes, "Pending entries, by the consumer that holds them", "messages pending")
    wide = _sampled(history, "pending")
    if wide.empty:
        style.nothing(axes, "no samples of the pending entries")
        return
    # Nobody's entries where there are no consumers yet; nothing at all where the sampler got no answer about them.
    edges, rows = _steps(wide.fillna(0).where(wide.notna().any(axis=1)))
    colours = style.colours(history)
    hatches, lower = style.hatches(colours), np.zeros(len(rows))
    for name in (name for name in colours if name in wide.columns):
        upper = lower + rows[:, wide.columns.get_loc(name)]
        axes.stairs(
            upper, edges, baseline=lower, fill=True, facecolor=colours[name], edgecolor="white", hatch=hatches[name],
            linewidth=0, label=style.plain(name), gid="pending",
        )  # fmt: skip
        lower = upper
    style.counted(axes, float(np.nanmax(lower)))
    style.legend(axes, stacked=True)


def draw_lag(axes: Axes, history: History) -> None:
    """Where Redis does not know the lag, it is a gap, and no zero."""
    _draw_entries(axes, history, "lag", "Lag: entries that the group has not read yet", style.ORANGE)


def draw_length(axes: Axes, history: History) -> None:
    """The stream's length."""
    _draw_entries(axes, history, "length", "Length of the stream: read or not", style.BLUE)


def _draw_entries(axes: Axes, history: History, metric: str, title: str, colour: str) -> None:
    style.label(axes, title, "entries")
    wide = _sampled(history, metric)
    if wide.empty:
        style.nothing(axes, f"no samples of the {metric}")
        return
    edges, rows = _steps(wide)
    axes.stairs(rows[:, 0], edges, fill=True, color=colour, alpha=0.3, linewidth=0)
    axes.stairs(rows[:, 0], edges, baseline=None, color=colour, linewidth=1.5, gid=metric)
    style.counted(axes, float(np.nanmax(rows)))


def _sampled(history: History, metric: str) -> pd.DataFrame:
    """One metric's samples: a row a moment at which the sampler polled, a column a consumer, NaN = no answer."""
    samples = history.samples
    found = samples[(samples["metric"] == metric).to_numpy()]
    return found.pivot_table("value", "time", "consumer", aggfunc="last", observed=True).reindex(
        samples["time"].unique() if len(found) else []
    )


def _steps(wide: pd.DataFrame) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Edges and rows of values: a sample holds until the next, or for one interval where that is missing."""
    time = wide.index.to_numpy()
    interval = float(np.median(np.diff(time))) if len(time) > 1 else 0.0
    missing = np.flatnonzero(np.diff(time) > _GAP * interval) + 1
    edges = np.insert(time, missing, time[missing - 1] + interval)
    return np.append(edges, time[-1] + interval), np.insert(wide.to_numpy(float), missing, np.nan, axis=0)
