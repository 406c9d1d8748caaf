"""How long each message took, from the moment at which it was due."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from streamlab.history import History
from streamlab.plot import style
from streamlab.plot.faults import draw_faults
from streamlab.plot.picture import Picture

_QUANTILES = {0.50: "solid", 0.95: "dashed", 0.99: "dotted"}
_IN_A_WINDOW = 20  # messages at least, on an average, for quantiles worth the name
_WINDOWS = 40
#: What became of a message, its marker and its colour; what comes first is drawn below.
_MARKS = {
    "normal": ("o", style.BLUE),
    "reclaimed": ("D", style.VERMILION),
    "done twice": ("s", style.PURPLE),
    "dead-lettered": ("X", style.INK),
}


def latency(history: History) -> Picture:
    """How long each message took from its due time to its first done, at the time when it was due.

    What was reclaimed, done twice or dead-lettered (until it was) is marked apart; the quantiles are those of the
    messages that were due in the same window of time.
    """
    figure, (axes,) = style.sheet(1, 4.5)
    draw_latency(axes, history)
    draw_faults([axes], history.faults, (0, style.end_of(history)))
    return Picture(figure)


def latencies(history: History) -> pd.DataFrame:
    """One row a message that has a due time: `due`, `took` (s, NaN = never done, never buried), `mark`.

    A message that was done before its worker died, and again by another one, is 'done twice' and not 'reclaimed'.
    """
    jobs = history.jobs[history.jobs["due"].notna().to_numpy()]
    events = history.events
    buried = events[((events["kind"] == "dead") & events["job"].notna()).to_numpy()].groupby("job")["time"].first()
    until = jobs["first_done"].fillna(buried.reindex(jobs.index))
    cases = [jobs["dead"], jobs["times_done"] > 1, jobs["reclaimed"] > 0, until.notna()]
    marks = np.select([case.to_numpy(dtype=bool) for case in cases], list(_MARKS)[::-1], default="never done")
    return pd.DataFrame({"due": jobs["due"], "took": until - jobs["due"], "mark": marks})


def draw_latency(axes: Axes, history: History) -> None:
    """Points or density, and the quantiles as steps."""
    end = style.end_of(history)
    style.label(axes, "Latency: from due to done, at the time when due", "latency")
    axes.set_xlim(0, end)
    rows = latencies(history)
    known = rows[rows["took"].notna().to_numpy()]
    if known.empty:
        style.nothing(axes, "no message with a due time was done")
        return
    # A clock has no negative durations; a message done within its own microsecond still has a place on a log axis.
    took = known["took"].clip(lower=1e-6)
    logarithmic = bool(took.max() > 8 * took.quantile(0.05))
    if not logarithmic:
        axes.set_ylim(0, float(took.max()) * 1.1)
    for mark in _MARKS:
        mine = (known["mark"] == mark).to_numpy()
        if mine.sum() >= style.DENSE:
            _density(axes, known["due"][mine], took[mine], logarithmic, mark)
        elif mine.any():
            _points(axes, known["due"][mine], took[mine], mark)
    _draw_quantiles(axes, known["due"].to_numpy(), took.to_numpy(), end)
    never = rows["due"][(rows["mark"] == "never done").to_numpy()]
    if len(never):
        name = f"never done ({len(never):,})"
        rim = axes.get_xaxis_transform()
        axes.plot(never, np.full(len(never), 0.985), "|", color=style.INK, markersize=9, transform=rim, label=name)
    style.durations(axes, logarithmic)  # after the density, which brings its own scale
    style.legend(axes)


def _draw_quantiles(axes: Axes, due: np.ndarray, took: np.ndarray, end: float) -> None:
    """A step a window; the legend has the quantiles of the whole run."""
    count = int(np.clip(len(due) // _IN_A_WINDOW, 1, _WINDOWS))
    edges = np.linspace(min(0.0, due.min()), max(due.max(), end / 100) * (1 + 1e-9), count + 1)
    windows = pd.Series(took).groupby(np.digitize(due, edges) - 1)
    for quantile, dashes in _QUANTILES.items():
        overall = float(np.quantile(took, quantile, method="higher"))  # a latency that a message had
        values = windows.quantile(quantile, interpolation="higher").reindex(range(count)).to_numpy()
        axes.stairs(
            values,
            edges,
            baseline=None,
            color=style.INK,
            linestyle=dashes,
            linewidth=1.4,
            label=f"p{quantile * 100:.0f}  {_duration(overall)}",
            path_effects=style.HALO,
            zorder=3.5,
        )


def _points(axes: Axes, due: pd.Series[float], took: pd.Series[float], mark: str) -> None:
    marker, colour = _MARKS[mark]
    size = (4.5 if len(due) < 1000 else 2.5) + (mark != "normal")
    name = f"{mark} ({len(due):,})"
    axes.plot(due, took, marker, color=colour, markersize=size, markeredgewidth=0, alpha=0.8, zorder=3, label=name)


def _density(axes: Axes, due: pd.Series[float], took: pd.Series[float], logarithmic: bool, mark: str) -> None:
    scale: Literal["log", "linear"] = "log" if logarithmic else "linear"
    shades = {"normal": "Blues", "reclaimed": "Oranges", "done twice": "PuRd", "dead-lettered": "Greys"}[mark]
    cells = axes.hexbin(due, took, gridsize=(90, 30), yscale=scale, bins="log", mincnt=1, cmap=shades, vmin=0.2)
    bar = axes.figure.colorbar(cells, ax=axes, location="bottom", aspect=60, shrink=0.5, pad=0.02, format="{x:,.0f}")
    bar.set_label(f"{mark}: messages in a cell ({len(due):,} in all)", fontsize=style.SMALL, color=style.INK)
    bar.ax.tick_params(labelsize=style.SMALL, colors=style.INK)


def _duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"
