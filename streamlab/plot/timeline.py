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

#: By name: how high it is (inches), and what is in it, from top to bottom.
TIMELINES: dict[str, tuple[float, list[Callable[[Axes, History], None]]]] = {
    "overview": (7, [draw_pel, draw_latency]),
    "pel": (4, [draw_pel]),
    "latency": (4.5, [draw_latency]),
    "backlog": (5, [draw_lag, draw_length]),
    "rate": (4, [draw_rate]),
}


@style.styled
def timeline(name: str, history: History) -> Picture:
    """Draw one of `TIMELINES`; the methods of `streamlab.report.Run` say what is seen in each."""
    height, drawings = TIMELINES[name]
    end = style.end_of(history)
    figure, axes = style.sheet(len(drawings), height)
    for one, draw_on in zip(axes, drawings, strict=True):
        one.set_xlim(0, end)
        draw_on(one, history)
    for upper in axes[:-1]:
        upper.set_xlabel("")
    draw_faults(axes, history.faults, (0, end))
    return Picture(figure)
