"""The moving pictures of a live run, drawn anew several times a second.

As SVG and by hand: matplotlib takes a tenth of a second a frame, in the process whose proxy passes on the run's
messages. Text takes the page's colour, in a light theme and in a dark one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from html import escape

import numpy as np

from streamlab.history.metrics import SECONDS, STEP, Mark, Metrics, Values
from streamlab.plot import style
from streamlab.plot.faults import FAMILIES

_WIDTH, _HEIGHT = 460, 185  # of a panel, in pixels
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 448, 44, 161  # the edges of its plot
_SECOND = (_RIGHT - _LEFT) / SECONDS
_DASHES = {"━━": "", "╍╍": "6 3", "┅┅": "2 2"}  # of a line, by its sign in the title


@dataclass(frozen=True)
class _Line:
    """A line with gaps where nothing is known; with `below`, the area between two lines of steps."""

    values: Sequence[float | None]
    colour: str
    name: str = ""
    sign: str = "━━"
    below: Sequence[float] = ()

    def svg(self, time: Sequence[float]) -> str:
        if self.below:
            steps = zip(time, self.below, self.values, strict=True)
            path = "".join(f"M{t} {low}h{STEP}V{high}h{-STEP}Z" for t, low, high in steps if (high or 0) > low)
            return f'<path d="{path}" fill="{self.colour}" shape-rendering="crispEdges"/>'
        path, pen = "", "M"
        for t, value in zip(time, self.values, strict=True):
            path += "" if value is None else f"{pen}{t + STEP} {value:.4g}"
            pen = "M" if value is None else "L"
        return _stroke(path, self.colour, f'stroke-width="1.8" stroke-dasharray="{_DASHES[self.sign]}"')


def consumer_colours(names: Iterable[str]) -> dict[str, str]:
    """The colour of each consumer, the same as in the pictures of a history, for HTML."""
    return {name: "rgb({:.0%} {:.0%} {:.0%})".format(*colour) for name, colour in style.consumer_colours(names).items()}


def frame(look: Metrics, marks: Sequence[Mark], colours: Mapping[str, str]) -> str:
    """PEL by consumer, lag, rate and latency over the last seconds, as HTML: panels that wrap on a narrow page."""
    pel, lag = _stacked(look.pending, colours), [_Line(look.lag, style.ORANGE)]
    rate = [_Line(look.added, style.SKY, "added", "╍╍"), _Line(look.done, style.GREEN, "done")]
    latency = [_Line(look.p50, style.GREEN, "p50"), _Line(look.p99, style.VERMILION, "p99")]
    latency.append(_Line(look.oldest, style.PURPLE, "oldest still waiting", "┅┅"))
    now = look.time[-1] + STEP if look.time else 0.0
    begin = max(0.0, now - SECONDS)
    marks = [replace(it, end=now if it.end is None else it.end) for it in marks if it.end is None or it.end >= begin]
    panel = partial(_panel, time=look.time, begin=begin, marks=marks)
    panels = [
        panel("Pending messages, by the worker that holds them", pel, least=4, named=True),
        panel("Lag: messages that nobody has read yet", lag, least=4),
        panel("Messages a second", rate, least=8),
        panel("Latency", latency, least=0.1, unit=" s"),
    ]
    return f'<div style="display: flex; flex-wrap: wrap; max-width: {2 * _WIDTH}px">{"".join(panels)}</div>'


def _stacked(pending: Mapping[str, Values], colours: Mapping[str, str]) -> list[_Line]:
    """Areas on top of each other; nothing where the sampler got no answer."""
    names = style.in_order(pending)
    held = np.nan_to_num(np.array([pending[name] for name in names], dtype=float))
    tops = held.cumsum(axis=0)
    layers = zip(names, tops.tolist(), (tops - held).tolist(), strict=True)
    return [_Line(top, colours.get(name, style.GREY), below=below) for name, top, below in layers]


def _panel(
    title: str,
    lines: Sequence[_Line],
    *,
    time: Sequence[float],
    begin: float,
    marks: Sequence[Mark],
    least: float,
    unit: str = "",
    named: bool = False,
) -> str:
    """One of the four: texts in pixels, the plot in seconds and in the unit of its values, up to `least` at least."""
    ticks = _ticks(max([least, *(value for line in lines for value in line.values if value is not None)]))
    top, up = ticks[-1], (_BOTTOM - _TOP) / ticks[-1]
    seconds = range(math.ceil(begin / 10) * 10, int(begin + SECONDS) + 1, 10)

    keys = [f'<tspan dx="10" fill="{line.colour}">{line.sign}</tspan> {line.name}' for line in lines if line.name]
    texts = [_text(0, 13, f'<tspan font-size="12.5" font-weight="600">{title}</tspan>{"".join(keys)}')]
    texts += [_text(_LEFT - 5, _BOTTOM - tick * up + 4, f"{tick:,.6g}{unit}", "end") for tick in ticks]
    texts += [_text(_LEFT + (t - begin) * _SECOND, _BOTTOM + 14, f"{t} s", "middle") for t in seconds]
    texts += _names(marks, begin) if named else []

    grid = [f"M{begin} {tick}h{SECONDS}" for tick in ticks] + [f"M{t} 0V{top}" for t in seconds]
    shapes = [_stroke("".join(grid), "currentColor", 'opacity="0.15"')]
    shapes += [_shade(mark, begin, top) for mark in marks] + [line.svg(time) for line in lines]
    place = f'x="{_LEFT}" y="{_TOP}" width="{_RIGHT - _LEFT}" height="{_BOTTOM - _TOP}" overflow="visible"'
    box = f'viewBox="{begin} 0 {SECONDS} {top}" preserveAspectRatio="none"'
    plot = f'<svg {place} {box}><g transform="matrix(1 0 0 -1 0 {top})">{"".join(shapes)}</g></svg>'
    outer = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" style="flex: 1 1 {_WIDTH - 120}px; max-width: {_WIDTH}px"'
    return f'<svg {outer} fill="currentColor" font-size="11" role="img">{plot}{"".join(texts)}</svg>'


def _shade(mark: Mark, begin: float, top: float) -> str:
    """A fault, for as long as it lasts."""
    colour = FAMILIES.get(mark.family, FAMILIES["worker"]).colour.replace(style.INK, "currentColor")
    start, end = max(mark.start, begin), max(mark.end or 0.0, begin, mark.start)
    edge = _stroke(f"M{start} 0V{top}", colour, 'stroke-dasharray="4 3"') if start == mark.start else ""
    size = f'x="{start}" width="{end - start}" height="{top}"'
    return f'<rect {size} fill="{colour}" opacity="0.12"><title>{escape(mark.name)}</title></rect>{edge}'


def _names(marks: Sequence[Mark], begin: float) -> list[str]:
    """The names of the faults above the plot, in two rows, where there is room."""
    texts, used = [], [0.0, 0.0]
    for mark in (mark for mark in marks if mark.start >= begin):
        x, width = _LEFT + (mark.start - begin) * _SECOND, 5.8 * len(mark.name)
        row = next((row for row, edge in enumerate(used) if edge <= x), None)
        if row is not None:
            x = min(x, _RIGHT - width)
            texts.append(_text(x, _TOP - 4 - 12 * row, escape(mark.name)))
            used[row] = x + width
    return texts


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def _stroke(path: str, colour: str, look: str) -> str:
    """A line as wide as it says in pixels, whatever the unit of its values."""
    return f'<path d="{path}" fill="none" stroke="{colour}" vector-effect="non-scaling-stroke" {look}/>'


def _ticks(highest: float) -> list[float]:
    """From 0 to above `highest`, in three or so steps of 1, 2 or 5 times a power of ten."""
    least = highest / 3 * (1 - 1e-9)
    power = 10.0 ** math.floor(math.log10(least))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least)
    return [step * n for n in range(math.ceil(highest / step - 1e-9) + 1)]
