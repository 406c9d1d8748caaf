"""The lanes: what each worker held, from delivery to ack, and what was taken from whom."""

from __future__ import annotations

from collections.abc import Collection
from math import isfinite

import numpy as np
import numpy.typing as npt

from streamlab.errors import UsageError
from streamlab.history import History
from streamlab.plot import style
from streamlab.plot.bars import Window, draw_bars, draw_claims, draw_density, draw_lives, rows_of
from streamlab.plot.faults import draw_faults
from streamlab.plot.lifetimes import lifetimes
from streamlab.plot.picture import Picture

_BARS = 1500  # so many and more are drawn as density
_ROWS = 160  # of bars, all workers together
_LANE = 2.0  # rows of a lane at least
_DENSITY = 4.0  # rows of a lane that shows numbers
_SPACE = 0.6  # rows between two lanes


@style.styled
def lanes(
    history: History,
    start: float | None = None,
    end: float | None = None,
    *,
    entries: Collection[str] | None = None,
    title: str = "What each worker held, from delivery to ack",
) -> Picture:
    """A lane a worker: a bar a message from delivery to ack, an arrow a claim from its former holder's lane.

    A hollow bar had been delivered before; the tick in it is when it was done; a dotted line behind it goes on to what
    its holder still wrote when it was another's. Many messages are drawn as their number at each moment instead.
    `start`, `end` (s) show a part of the run; `entries` show these only, and who held them. Raises UsageError where
    that is no span of time.
    """
    window = _window(history, start, end)
    found = history.deliveries.assign(end=_ends(history), row=0)
    found["tail"] = np.fmax(found["end"], found["last"])
    near = ((found["tail"] >= window[0]) & (found["start"] <= window[1])).to_numpy()
    colours, faults = style.colours(history), history.faults
    if entries is not None:
        near = near & found["entry"].isin(entries).to_numpy()
        others = colours.keys() - set(found["process"][near])
        colours = {name: colour for name, colour in colours.items() if name not in others}
        faults = faults[~faults["target"].isin(others)]
    depth = dict.fromkeys(colours, _DENSITY)
    if near.sum() < _BARS:
        found.loc[near, "row"] = rows_of(found[near])
        most = found[near].groupby("process", observed=True)["row"].max() + 1.0
        depth = {name: max(_LANE, float(most.get(name, 0))) for name in colours}
    stacked = near.sum() < _BARS and sum(depth.values()) <= _ROWS
    if not stacked:
        depth = dict.fromkeys(colours, _DENSITY)
    claims = found[near & (found["claimed_from"] >= 0) & (found["start"] >= window[0])]
    lower = np.cumsum([rows + _SPACE for rows in depth.values()]) - _SPACE
    places = {name: (float(low - rows), float(low)) for (name, rows), low in zip(depth.items(), lower, strict=True)}
    total = max(places.values(), default=(0.0, 1.0))[1]
    figure, (axes,) = style.sheet(1, float(np.clip(1.2 + 0.11 * total, 2.5, 13)))
    # The first worker at the top; names instead of numbers.
    style.label(axes, style.plain(title, 90), "")
    axes.set_ylim(total + _SPACE / 2, -_SPACE / 2)
    axes.set_yticks([sum(place) / 2 for place in places.values()], [style.plain(name, 20) for name in places])
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.set_xlim(window)
    handles = draw_lives(axes, lifetimes(history), places, window)
    if not near.any():
        style.nothing(axes, "no message was delivered" if entries is None else "it was never delivered")
    else:
        if stacked:
            means = draw_bars(axes, found[near], places, colours, (window[1] - window[0]) / 800)
        else:
            means = draw_density(axes, found[near], places, colours, window)
        means += draw_claims(axes, claims, found, places, stacked=stacked, window=window)
        style.legend(axes, handles=[*means, *handles])
    draw_faults([axes], faults, window, places)
    return Picture(figure)


def _ends(history: History) -> npt.NDArray[np.float64]:
    """When each of `History.deliveries` ended, without gaps (s): what is pending in the end was held until then.

    What Redis lost or an operator removed was held until somebody wrote of it for the last time, or until the first
    such fault after that.
    """
    until = style.end_of(history)
    table, outcome, faults = history.deliveries, history.outcome, history.faults
    end, last = table["end"].to_numpy(copy=True), table["last"].to_numpy()
    still = np.isnan(end)
    gone = np.zeros(len(end), bool)
    if outcome["ended"] != "interrupted":
        gone = still & ~table["entry"].isin(set(outcome["pending"])).to_numpy()
    struck = np.append(np.sort(faults["start"][faults["family"].isin(["redis", "operator"])]), np.inf)
    following = struck[np.searchsorted(struck, last)]
    end[still] = until
    end[gone] = np.where(np.isfinite(following), following, last)[gone]
    return np.asarray(np.minimum(end, until))


def _window(history: History, start: float | None, end: float | None) -> Window:
    begin = 0.0 if start is None else float(start)
    until = style.end_of(history) if end is None else float(end)
    if not (isfinite(begin) and isfinite(until) and begin < until):
        raise UsageError(f"start={begin:g}, end={until:g}: expected seconds since the start, start before end")
    return begin, until
