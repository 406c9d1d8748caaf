"""The pictures of a whole run, over its seconds: one drawing or two, the faults shaded and named."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.axes import Axes

from streamlab.history import History
from streamlab.plot import style
from streamlab.plot.faults import draw_faults
from streamlab.plot.latency import draw_latency
from streamlab.plot.picture import Picture
from streamlab.plot.rate import draw_rate
from streamlab.plot.samples import draw_lag, draw_length, draw_pel


def overview(history: History) -> Picture:
    """Who holds how many messages, and how long each took, on the same seconds."""
    return _timeline(history, 7, draw_pel, draw_latency)


def pel(history: History) -> Picture:
    """The pending entries list's size over time, by consumer."""
    return _timeline(history, 4, draw_pel)


def latency(history: History) -> Picture:
    """How long each message took from its due time to its first done, at the time when it was due.

    What was reclaimed, done twice or dead-lettered (until it was) is marked apart; the quantiles are those of the
    messages that were due in the same window of time.
    """
    return _timeline(history, 4.5, draw_latency)


def backlog(history: History) -> Picture:
    """Entries that the group has not read yet (lag), and entries in the stream.

    Redis does not always know the lag (after XDEL, XTRIM or XGROUP SETID): there it is a gap, and no zero.
    """
    return _timeline(history, 5, draw_lag, draw_length)


def rate(history: History) -> Picture:
    """Messages a second, in steps: added to the stream, done, and delivered again."""
    return _timeline(history, 4, draw_rate)


@style.styled
def _timeline(history: History, height: float, *draw: Callable[[Axes, History], None]) -> Picture:
    end = style.end_of(history)
    figure, axes = style.sheet(len(draw), height)
    for one, draw_on in zip(axes, draw, strict=True):
        one.set_xlim(0, end)
        draw_on(one, history)
    for upper in axes[:-1]:
        upper.set_xlabel("")
    draw_faults(axes, history.faults, (0, end))
    return Picture(figure)
