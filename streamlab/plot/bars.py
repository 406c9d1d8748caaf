"""The contents of the lanes: bars, densities, claims and deaths."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from streamlab.plot import style
from streamlab.plot.lifetimes import Lifetime

Places = Mapping[str, tuple[float, float]]  # of each worker's lane: its upper and its lower edge
Window = tuple[float, float]  # s

_BAR = 0.8  # of a row
_POINTS = 1000  # steps of a density
_ARROWS = 300  # at most
_CROWD = 60  # arrows and more are drawn faintly
_SEEN = 0.05  # of a lane's height: one message among thousands is something, not nothing


def rows_of(found: pd.DataFrame) -> npt.NDArray[np.int64]:
    """For each delivery the first row of its worker's lane that is free for as long as it lasts."""
    rows = np.zeros(len(found), np.int64)
    starts, ends = found["start"].to_numpy(dtype=float), found["tail"].to_numpy(dtype=float)
    for places in found.groupby("process", observed=True).indices.values():
        free: list[int] = []
        busy: list[tuple[float, int]] = []
        for place in places:
            while busy and busy[0][0] <= starts[place]:
                heapq.heappush(free, heapq.heappop(busy)[1])
            row = heapq.heappop(free) if free else len(busy)
            rows[place] = row
            heapq.heappush(busy, (float(ends[place]), row))
    return rows


def draw_bars(
    axes: Axes, found: pd.DataFrame, places: Places, colours: Mapping[str, style.Colour], least: float
) -> list[Artist]:
    """A bar a delivery, `least` (s) wide or wider, hollow where the entry had been delivered before; what they mean."""
    left, end, last, done = (found[name].to_numpy(dtype=float) for name in ("start", "end", "last", "done"))
    upper, right, again = _upper(found, places), np.maximum(end, left + least), found["again"].to_numpy()
    lower, edges = upper + _BAR, np.array([colours[str(name)] for name in found["process"]])
    corners = np.stack([left, upper, right, upper, right, lower, left, lower], axis=1).reshape(-1, 4, 2)
    for hollow, gid in ((False, "delivered"), (True, "delivered again")):
        its = edges[again == hollow]
        looks = {"facecolors": "white", "linewidths": 1.2} if hollow else {"facecolors": its, "linewidths": 0.3}
        bars = PolyCollection(list(corners[again == hollow]), edgecolors=its, zorder=2, gid=gid, **looks)
        axes.add_collection(bars, autolim=False)
    zombie, did = last > end, np.isfinite(done)
    axes.hlines(
        ((upper + lower) / 2)[zombie], right[zombie], last[zombie], colors=edges[zombie].tolist(), linewidth=1.2,
        linestyles="dotted", zorder=2, gid="tail",
    )  # fmt: skip
    thick = np.minimum(1.1, 0.25 * (right - left)[did] / least)  # a narrow bar is still seen behind it
    axes.vlines(done[did], upper[did], lower[did], colors=style.INK, linewidth=thick, zorder=3, gid="done")
    return [
        Patch(facecolor=style.GREY, edgecolor=style.GREY, label="delivered first"),
        Patch(facecolor="white", edgecolor=style.GREY, linewidth=1.2, label="delivered again"),
        Line2D([], [], marker="|", markersize=9, color=style.INK, linestyle="none", label="done"),
        *([Line2D([], [], color=style.GREY, linestyle="dotted", label="another's already")] if zombie.any() else []),
    ]


def draw_density(
    axes: Axes, found: pd.DataFrame, places: Places, colours: Mapping[str, style.Colour], window: Window
) -> list[Artist]:
    """How many messages a worker held at each moment (the most within a step), all lanes on one scale."""
    steps = np.linspace(*window, _POINTS + 1)
    held = {name: _held(found[(found["process"] == name).to_numpy()], steps) for name in places}
    most = max(1, *(int(values.max()) for values in held.values()))
    for name, (upper, lower) in places.items():
        share = np.where(held[name] > 0, np.maximum(held[name] / most * 0.95, _SEEN), 0)
        edge = lower - share * (lower - upper)
        axes.stairs(edge, steps, baseline=lower, fill=True, color=colours[name], linewidth=0, zorder=2, gid="held")
    return [Patch(facecolor=style.GREY, label=f"messages held:\na full lane is {most:,}")]


def _held(mine: pd.DataFrame, steps: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The largest number within each step."""
    time = np.concatenate([mine["start"].to_numpy(), mine["end"].to_numpy()])
    order = np.argsort(time, kind="stable")
    held = np.append(0, np.cumsum(np.repeat([1, -1], len(mine))[order]))
    first, last = np.searchsorted(time[order], steps[:-1], "right"), np.searchsorted(time[order], steps[1:], "left")
    return np.array([held[a : b + 1].max() for a, b in zip(first, last, strict=True)])


def draw_claims(
    axes: Axes, claims: pd.DataFrame, found: pd.DataFrame, places: Places, *, stacked: bool, window: Window
) -> list[Artist]:
    """An arrow a claim, from the former holder's bar (or lane) to the new one's."""
    if claims.empty:
        return []
    former = found.iloc[claims["claimed_from"].to_numpy()]
    x = claims["start"].to_numpy()
    if stacked:
        start, end = _upper(former, places) + _BAR / 2, _upper(claims, places) + _BAR / 2
    else:  # those between the same lanes at the same moment are one
        start, end = (np.array([sum(places[str(name)]) / 2 for name in some["process"]]) for some in (former, claims))
        step = (window[1] - window[0]) / 150
        x, start, end = np.unique(np.stack([np.round(x / step) * step, start, end]), axis=1)
    shown = slice(None, None, -(-len(x) // _ARROWS))
    axes.quiver(
        x[shown], start[shown], np.zeros(len(x))[shown], (end - start)[shown],
        angles="xy", scale_units="xy", scale=1, units="dots", width=1.3, headwidth=6, headlength=7, headaxislength=6,
        minlength=0, color=style.INK, alpha=1 if len(x) < _CROWD else 0.4, zorder=3.5, gid="claims",
    )  # fmt: skip
    name = f"claimed ({len(claims):,})"
    return [Line2D([], [], color=style.INK, marker=r"$\downarrow$", markersize=9, linestyle="none", label=name)]


def draw_lives(axes: Axes, lives: Mapping[str, Iterable[Lifetime]], places: Places, window: Window) -> list[Artist]:
    """A lane's ground for as long as there is a process, and a cross where one died."""
    crosses = []
    for name, (upper, lower) in places.items():
        for life in lives[name]:
            left, right = max(life.start, window[0]), min(life.end, window[1])
            if left < right:
                axes.fill_between([left, right], upper, lower, color=style.GROUND, linewidth=0, zorder=0.4, gid="alive")
            if life.crashed and window[0] <= life.end <= window[1]:
                crosses.append((life.end, (upper + lower) / 2))
    if not crosses:
        return []
    (line,) = axes.plot(*np.array(crosses).T, "X", color=style.INK, markersize=11, markeredgecolor="white", zorder=5)
    line.set(gid="crash", label="process gone")
    return [line]


def _upper(found: pd.DataFrame, places: Places) -> npt.NDArray[np.float64]:
    """The upper edge of each bar."""
    upper = np.array([places[str(name)][0] for name in found["process"]], dtype=float)
    return np.asarray(upper + found["row"].to_numpy() + (1 - _BAR) / 2)
