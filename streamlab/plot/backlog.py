"""What still has to be done: the group's lag, and the stream's length."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from streamlab.history import History
from streamlab.plot import style
from streamlab.plot.faults import draw_faults
from streamlab.plot.pel import sampled, with_gaps
from streamlab.plot.picture import Picture


def backlog(history: History) -> Picture:
    """Entries that the group has not read yet (lag), and entries in the stream, over time.

    Redis does not always know the lag (after XDEL, XTRIM or XGROUP SETID): there it is a gap, and no zero.
    """
    figure, (upper, lower) = style.sheet(2, 5)
    _draw(upper, history, "lag", "Lag: entries that the group has not read yet", style.ORANGE)
    _draw(lower, history, "length", "Length of the stream: read or not", style.BLUE)
    upper.set_xlabel("")
    draw_faults([upper, lower], history.faults, (0, style.end_of(history)))
    return Picture(figure)


def _draw(axes: Axes, history: History, metric: str, title: str, colour: str) -> None:
    style.label(axes, title, "entries")
    axes.set_xlim(0, style.end_of(history))
    wide = sampled(history, metric)
    if wide.empty:
        style.nothing(axes, f"no samples of the {metric}")
        return
    time, rows = with_gaps(wide.index.to_numpy(), wide.to_numpy()[:, :1])
    values = rows[:, 0]
    axes.fill_between(time, values, step="post", facecolor=colour, alpha=0.3, linewidth=0)
    axes.plot(time, values, drawstyle="steps-post", color=colour, linewidth=1.5, gid=metric)
    style.counted(axes, float(np.nanmax(values)))
