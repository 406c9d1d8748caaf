"""How many messages a second: added, done, and delivered once more."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from streamlab.history import History
from streamlab.plot import style

_STEPS = 120  # at most
_IN_A_STEP = 5  # messages at least, on an average: with fewer it would be the picture of chance


def draw_rate(axes: Axes, history: History) -> None:
    """Two lines, and an area for what was delivered again."""
    end, events, delivered = style.end_of(history), history.events, history.deliveries
    added, done = (events["time"][(events["kind"] == kind).to_numpy()] for kind in ("added", "done"))
    again = delivered["start"][delivered["again"].to_numpy()]
    width = _step(end, max(len(added), len(done), len(again)))
    style.label(axes, f"Rate, in steps of {width:g} s", "messages a second")
    if not len(added) + len(done) + len(again):
        style.nothing(axes, "no message was added or done")
        return
    # The last step is longer than the others: a rest of one would look like a fall at the end.
    edges = np.append(np.arange(max(1, int(end / width + 1e-9))) * width, end)
    line, most = {"baseline": None, "linewidth": 1.6, "zorder": 3}, 0.0
    for name, some, looks in (
        ("added", added, line | {"color": style.BLUE, "linestyle": "dashed"}),
        ("done", done, line | {"color": style.GREEN}),
        ("delivered again", again, {"color": style.VERMILION, "fill": True, "alpha": 0.6, "zorder": 2}),
    ):
        values = np.histogram(some, edges)[0] / np.diff(edges)
        axes.stairs(values, edges, label=f"{name} ({len(some):,})", **looks)
        most = max(most, float(values.max()))
    style.counted(axes, most)
    style.legend(axes)


def _step(end: float, count: int) -> float:
    """A round width, in s."""
    least = max(end / _STEPS, min(end * _IN_A_STEP / max(count, 1), end / 16))
    power = 10.0 ** np.floor(np.log10(least))
    return float(next(f * power for f in (1, 2, 5, 10) if f * power >= least * (1 - 1e-9)))
