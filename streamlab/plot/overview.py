"""The two pictures to begin with, one above the other."""

from __future__ import annotations

from streamlab.history import History
from streamlab.plot import style
from streamlab.plot.faults import draw_faults
from streamlab.plot.latency import draw_latency
from streamlab.plot.pel import draw_pel
from streamlab.plot.picture import Picture


def overview(history: History) -> Picture:
    """Who holds how many messages, and how long each took, on the same seconds."""
    figure, (upper, lower) = style.sheet(2, 7)
    draw_pel(upper, history, seconds=False)
    draw_latency(lower, history)
    draw_faults([upper, lower], history.faults, (0, style.end_of(history)))
    return Picture(figure)
