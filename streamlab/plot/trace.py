"""The trace of one message as a drawing: who held it when, and what they wrote of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from streamlab.history import History
from streamlab.plot import style
from streamlab.plot.faults import draw_faults
from streamlab.plot.lifetimes import lifetimes
from streamlab.plot.picture import Picture

Moment = tuple[float, str, str]  # s, who, what

_REDIS = "Redis"
_AT_REDIS = {"added": 1, "read": -1, "claimed": -1, "own": -1, "acked": 1, "dead": 1}  # to it, from it
_LINE = 0.155  # inches a line of words
_LETTER = 0.0068  # of the picture's width
_LONGEST = 46  # letters a line
_MOST = 8  # lines together


@dataclass
class _Words:
    """Lines that stand together, from `left` to `right` (shares of the width), under the first of their marks."""

    at: float
    lines: list[str]
    left: float = 0.0
    right: float = 0.0

    def place(self) -> None:
        width = _LETTER * max(map(len, self.lines)) + 0.012
        self.left = self.at if self.at + width <= 1 else max(0.0, 1 - width)
        self.right = self.left + width


@style.styled
def trace(
    title: str, history: History, events: pd.DataFrame, moments: Sequence[Moment], faults: pd.DataFrame
) -> Picture:
    """Lanes for the plan, the producer, Redis and each worker, from the due time to the ack.

    Args:
        title: which message it is.
        history: the run.
        events: the message's rows of `History.events`.
        moments: what is to be written where: time (s), who (a lane), what.
        faults: the rows of `History.faults` that hit it.
    """
    colours = style.colours(history)
    times = [time for time, _, _ in moments]
    begin, end = min(times), max([*times, *faults["start"]])
    pad = 0.02 * max(end - begin, 0.001)
    begin, end = begin - pad, end + 2 * pad
    names = _names([who for _, who, _ in moments], list(colours))
    words = {name: _together([(t, what) for t, who, what in moments if who == name], begin, end) for name in names}
    place, lanes, lines = {}, {}, 0.0
    for name in names:
        upper = lines - 0.7
        lines += 0.6 if name == _REDIS else 0  # room for whose it is
        place[name] = lines
        lines += 1.6 + max([0, *(len(some.lines) for some in words[name])])
        lanes[name] = (upper, lines - 0.7)
    figure, (axes,) = style.sheet(1, 1.3 + _LINE * lines)
    style.label(axes, style.plain(title, 90), "")
    axes.set_xlim(begin, end)
    axes.set_ylim(lines - 0.5, -0.7)
    axes.set_yticks(list(place.values()), [style.plain(name, 20) for name in names])
    axes.tick_params(axis="y", length=0)
    axes.grid(False)
    for name, y in place.items():
        colour = colours.get(name, style.GREY)
        axes.axhline(y, color=style.FAINT, linewidth=1, zorder=1)
        mine = [time for time, who, _ in moments if who == name]
        axes.plot(
            mine, [y] * len(mine), "o", color=colour, markeredgecolor=style.INK, markersize=6, zorder=4, gid="moments"
        )
        for some in words[name]:
            _write(axes, some, y)
    ends = [(one.end, name) for name, some in lifetimes(history).items() for one in some if one.crashed]
    crashes = [(time, place[name]) for time, name in ends if name in place and begin <= time <= end]
    where = np.array(crashes).reshape(-1, 2)
    axes.plot(*where.T, "X", color=style.INK, markersize=9, markeredgecolor="white", zorder=5, gid="crash")
    held = history.deliveries[history.deliveries["entry"].isin(events["entry"].unique()).to_numpy()]
    _draw_held(axes, events, held, (place[_REDIS], end - pad), colours)
    _draw_ways(axes, events, place)
    draw_faults([axes], faults, (begin, end), lanes)
    return Picture(figure)


def _names(who: Iterable[str], workers: Sequence[str]) -> list[str]:
    said = {_REDIS, *who}
    head = [name for name in ("plan", "producer", _REDIS) if name in said]
    return [*head, *(name for name in workers if name in said), *sorted(said - {*head, *workers})]


def _together(moments: Sequence[tuple[float, str]], begin: float, end: float) -> list[_Words]:
    """Words that would stand on each other stand below each other, with their times."""
    found: list[_Words] = []
    for time, what in moments:
        line = f"{time:.3f} s  {what}"
        one = _Words((time - begin) / (end - begin), [line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"])
        one.place()
        found.append(one)
        while len(found) > 1 and found[-2].right > found[-1].left:
            found[-2].lines += found.pop().lines
            found[-1].place()
    for some in found:
        if len(some.lines) > _MOST:
            left_out = len(some.lines) - _MOST + 1
            some.lines[_MOST // 2 : _MOST // 2 + left_out] = [f"… {left_out} more"]
    return found


def _write(axes: Axes, words: _Words, y: float) -> None:
    text = "\n".join(style.plain(line, _LONGEST) for line in words.lines)
    axes.annotate(
        text,
        (words.left, y),
        xycoords=axes.get_yaxis_transform(),
        xytext=(4, -7),
        textcoords="offset points",
        va="top",
        fontsize=8,
        color=style.INK,
        linespacing=1.15,
        zorder=5,
        gid="words",
        path_effects=style.HALO,
    )


def _draw_held(
    axes: Axes,
    events: pd.DataFrame,
    held: pd.DataFrame,
    place: tuple[float, float],
    colours: Mapping[str, style.Colour],
) -> None:
    """In the lane of Redis, at `place` (y, and where it ends): whose PEL the entry was in, and when in nobody's."""
    y, end = place
    added = events[(events["kind"] == "added").to_numpy()]
    pieces: list[tuple[float, float, str, str | style.Colour]] = []
    for entry, time in zip(added["entry"], added["time"], strict=True):
        first = held.loc[(held["entry"] == entry).to_numpy(), "start"]
        pieces.append((time, float(first.iloc[0]) if len(first) else end, "unread", style.FAINT))
    for one in held.to_dict("records"):
        until = end if np.isnan(one["end"]) else one["end"]
        holder = str(one["process"])
        pieces.append((one["start"], until, f"held by {style.plain(holder, 20)}", colours[holder]))
    span = float(np.ptp(axes.get_xlim()))
    for start, until, what, colour in pieces:
        axes.add_patch(
            Rectangle((start, y - 0.3), until - start, 0.6, facecolor=colour, linewidth=0, zorder=2, gid="held")
        )
        if (until - start) / span > _LETTER * (len(what) + 1):
            axes.annotate(
                what,
                ((start + until) / 2, y),
                xytext=(0, 5),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=8,
                color=style.INK,
            )


def _draw_ways(axes: Axes, events: pd.DataFrame, place: Mapping[str, float]) -> None:
    """Arrows to Redis and from it."""
    ways = [
        (time, place[str(name)], place[_REDIS]) if _AT_REDIS[kind] > 0 else (time, place[_REDIS], place[str(name)])
        for time, name, kind in zip(events["time"], events["process"], events["kind"], strict=True)
        if kind in _AT_REDIS and str(name) in place
    ]
    if ways:
        x, start, end = np.array(ways).T
        axes.quiver(
            x, start, 0 * x, end - start, angles="xy", scale_units="xy", scale=1, units="dots", width=1.1,
            headwidth=6, headlength=7, headaxislength=6, minlength=0, color=style.GREY, zorder=3, gid="ways",
        )  # fmt: skip
