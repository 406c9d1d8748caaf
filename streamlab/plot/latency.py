"""How long each message took, from the moment at which it was due."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from streamlab.history import History
from streamlab.plot import style

_QUANTILES = {0.50: "solid", 0.95: "dashed", 0.99: "dotted"}
_IN_A_WINDOW = 20  # messages at least, on an average, for quantiles worth the name
_WINDOWS = 40
#: What became of a message: its marker and its colour; what comes first is drawn below.
_MARKS = {
    "normal": ("o", style.BLUE),
    "reclaimed": ("D", style.VERMILION),
    "done twice": ("s", style.PURPLE),
    "dead-lettered": ("X", style.INK),
}
_Array = npt.NDArray[np.float64]


def latencies(history: History) -> pd.DataFrame:
    """One row a message that has a due time: `due`, `took` (s, NaN = neither done nor dead-lettered), `mark`.

    A message that was done before its worker died, and again by another one, is 'done twice' and not 'reclaimed'.
    """
    jobs = history.jobs[history.jobs["due"].notna().to_numpy()]
    events = history.events
    dead = events[((events["kind"] == "dead") & events["job"].notna()).to_numpy()].groupby("job")["time"].first()
    until = jobs["first_done"].fillna(dead.reindex(jobs.index))
    cases = [jobs["dead"], jobs["times_done"] > 1, jobs["reclaimed"] > 0, until.notna()]
    marks = np.select([case.to_numpy(dtype=bool) for case in cases], list(_MARKS)[::-1], default="never done")
    return pd.DataFrame({"due": jobs["due"], "took": until - jobs["due"], "mark": marks})


def draw_latency(axes: Axes, history: History) -> None:
    """A point a message, and the quantiles as steps."""
    style.label(axes, "Latency: from due to done, at the time when due", "latency")
    rows = latencies(history)
    known = rows[rows["took"].notna().to_numpy()]
    if known.empty:
        style.nothing(axes, "no message with a due time was done")
        return
    # A clock has no negative durations; a message done within its own microsecond still has a place on a log axis.
    due, took = known["due"].to_numpy(), np.maximum(known["took"].to_numpy(), 1e-6)
    logarithmic = bool(took.max() > 8 * np.quantile(took, 0.05))
    if not logarithmic:
        axes.set_ylim(0, took.max() * 1.1)
    for mark, (marker, colour) in _MARKS.items():
        mine = (known["mark"] == mark).to_numpy()
        if count := mine.sum():  # of thousands of points the single one is small, and a crowd still has its shades
            size, alpha = (4.5 if count < 1000 else 2.5, 0.8) if count < 10_000 else (1.5, 0.5)
            points = axes.plot(due[mine], took[mine], marker, color=colour, label=f"{mark} ({count:,})", zorder=3)
            points[0].set(markersize=size + (mark != "normal"), markeredgewidth=0, alpha=alpha)
    _draw_quantiles(axes, due, took, style.end_of(history))
    never = rows["due"][(rows["mark"] == "never done").to_numpy()]
    if len(never):
        top, name = np.full(len(never), 0.985), f"never done ({len(never):,})"
        axes.plot(never, top, "|", color=style.INK, markersize=9, transform=axes.get_xaxis_transform(), label=name)
    axes.set_yscale("log" if logarithmic else "linear")
    style.amounts(axes.yaxis, logarithmic, EngFormatter(unit="s"))
    style.legend(axes)


def _draw_quantiles(axes: Axes, due: _Array, took: _Array, end: float) -> None:
    """A step a window; the legend has the quantiles of the whole run."""
    count = int(np.clip(len(due) // _IN_A_WINDOW, 1, _WINDOWS))
    edges = np.linspace(min(0.0, due.min()), max(due.max(), end / 100) * (1 + 1e-9), count + 1)
    windows = pd.Series(took).groupby(np.digitize(due, edges) - 1)
    for quantile, dashes in _QUANTILES.items():
        overall = float(np.quantile(took, quantile, method="higher"))  # a latency that a message had
        shown = f"{overall:.2f} s" if overall >= 1 else f"{overall * 1e3:.3g} ms"
        axes.stairs(
            windows.quantile(quantile, interpolation="higher").reindex(range(count)).to_numpy(), edges, baseline=None,
            color=style.INK, linestyle=dashes, linewidth=1.4, path_effects=style.HALO, zorder=3.5,
            label=f"p{quantile * 100:.0f}  {shown}",
        )  # fmt: skip
