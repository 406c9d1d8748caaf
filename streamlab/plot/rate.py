"""How many messages a second: added, done, and delivered once more."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from streamlab.history import History
from streamlab.plot import style
from streamlab.plot.faults import draw_faults
from streamlab.plot.picture import Picture
from streamlab.plot.spans import spans

_STEPS = 120  # at most
_IN_A_STEP = 5  # messages at least, on an average: with fewer it would be the picture of chance


def rate(history: History) -> Picture:
    """Messages a second, in steps: added to the stream, done, and delivered again."""
    figure, (axes,) = style.sheet(1, 4)
    _draw(axes, history)
    draw_faults([axes], history.faults, (0, style.end_of(history)))
    return Picture(figure)


def _draw(axes: Axes, history: History) -> None:
    end = style.end_of(history)
    events, delivered = history.events, spans(history.events)
    times = {
        "added": events["time"][(events["kind"] == "added").to_numpy()].to_numpy(),
        "done": events["time"][(events["kind"] == "done").to_numpy()].to_numpy(),
        "delivered again": delivered["start"][delivered["again"].to_numpy()].to_numpy(),
    }
    width = _step(end, max(len(some) for some in times.values()))
    style.label(axes, f"Rate, in steps of {width:g} s", "messages a second")
    axes.set_xlim(0, end)
    if not any(len(some) for some in times.values()):
        style.nothing(axes, "no message was added or done")
        return
    # The last step is longer than the others: a rest of one would look like a fall at the end.
    edges = np.append(np.arange(max(1, int(end / width + 1e-9))) * width, end)
    most = 0.0
    for (name, some), colour in zip(times.items(), (style.BLUE, style.GREEN, style.VERMILION), strict=True):
        values = np.histogram(some, edges)[0] / np.diff(edges)
        most = max(most, float(values.max()))
        again = name == "delivered again"
        axes.stairs(
            values,
            edges,
            baseline=0 if again else None,
            fill=again,
            color=colour,
            alpha=0.6 if again else 1,
            linewidth=1.6,
            linestyle="dashed" if name == "added" else "solid",
            label=f"{name} ({len(some):,})",
            zorder=2 if again else 3,
        )
    style.counted(axes, most)
    style.legend(axes)


def _step(end: float, count: int) -> float:
    """A round width, in s."""
    least = max(end / _STEPS, min(end * _IN_A_STEP / max(count, 1), end / 16))
    power = 10.0 ** np.floor(np.log10(least))
    return float(next(f * power for f in (1, 2, 5, 10) if f * power >= least * (1 - 1e-9)))
