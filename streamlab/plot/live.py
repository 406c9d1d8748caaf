"""What a run looks like while it goes on: four small pictures, drawn anew several times a second.

As SVG and by hand: matplotlib takes a tenth of a second for a frame, in the same process through which the messages
of a live run go on their way to Redis. Text takes the colour of its surroundings, in a light theme and in a dark one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from matplotlib.colors import to_hex

from streamlab.history.metrics import SECONDS, STEP, Mark, Metrics, Values
from streamlab.plot import style
from streamlab.plot.faults import FAMILIES

_WIDE, _HIGH = 460, 210  # of a panel, in pixels
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 44, 24  # around its data
_ROWS = 2  # of names of faults, above the first panel
_Key = tuple[str, str, str]  # name, colour, dashes


def consumer_colours(names: Iterable[str]) -> dict[str, str]:
    """The colour of each consumer, the same as in the pictures of a history, for HTML."""
    return {name: to_hex(colour) for name, colour in style.consumer_colours(names).items()}


def frame(look: Metrics, marks: Sequence[Mark], colours: Mapping[str, str]) -> str:
    """PEL by consumer, lag, rate and latency over the last seconds, as one SVG element."""
    now = look.time[-1] + STEP if look.time else 0.0
    begin = max(0.0, now - SECONDS)
    panels = [_Panel(number, begin) for number in range(4)]
    pel, lag, rate, latency = panels
    for panel in panels:
        panel.draw_marks([mark for mark in marks if mark.end is None or mark.end >= begin], now, named=panel is pel)
    _draw_pel(pel, look, colours)
    lag.scale("Lag: messages that nobody has read yet", [look.lag], least=4)
    lag.line(look.time, look.lag, style.ORANGE)
    rate.scale("Messages a second", [look.added, look.done], least=8)
    rate.line(look.time, look.added, style.SKY, "6 3")
    rate.line(look.time, look.done, style.GREEN)
    rate.keys([("added", style.SKY, "6 3"), ("done", style.GREEN, "")])
    values = [look.p50, look.p99, look.oldest]
    latency.scale("Latency", values, least=0.1, unit="s")
    keys = [("p50", style.GREEN, ""), ("p99", style.VERMILION, ""), ("oldest still waiting", style.PURPLE, "2 2")]
    for line, (_, colour, dashes) in zip(values, keys, strict=True):
        latency.line(look.time, line, colour, dashes)
    latency.keys(keys)
    body = "".join(panel.text() for panel in panels)
    box = f"0 0 {2 * _WIDE} {2 * _HIGH}"
    return (
        f'<svg viewBox="{box}" style="width: 100%; max-width: {2 * _WIDE}px; display: block" fill="currentColor" '
        f'font-family="sans-serif" font-size="11" role="img">{body}</svg>'
    )


def _draw_pel(panel: _Panel, look: Metrics, colours: Mapping[str, str]) -> None:
    """Areas on top of each other; where the probe got no answer there is nothing."""
    consumers = {name: look.pending[name] for name in style.in_order(look.pending)}
    rows = list(zip(*consumers.values(), strict=True))
    known = [any(value is not None for value in row) for row in rows]
    lower: Values = [0.0 if it else None for it in known]
    areas = []
    for name, values in consumers.items():
        upper = [None if low is None else low + (value or 0) for low, value in zip(lower, values, strict=True)]
        areas.append((name, lower, upper))
        lower = upper
    panel.scale("Pending messages, by the worker that holds them", [lower], least=4)
    for name, low, high in areas:
        panel.area(look.time, low, high, colours.get(name, style.GREY))


class _Panel:
    """One of the four: axes, and what is drawn in them."""

    def __init__(self, number: int, begin: float) -> None:
        self._x, self._y = number % 2 * _WIDE, number // 2 * _HIGH
        self._begin = begin
        self._most = 1.0
        self._parts: list[str] = []
        for tick in range(math.ceil(begin / 10) * 10, int(begin + SECONDS) + 1, 10):
            x = self._across(tick)
            label = f"{tick} s" if tick in (begin, 0) or tick == math.ceil(begin / 10) * 10 else str(tick)
            self._line((x, _TOP), (x, _HIGH - _BOTTOM), "currentColor", 'opacity="0.12"')
            self._text(x, _HIGH - _BOTTOM + 14, label, 'text-anchor="middle" opacity="0.8"')

    def scale(self, title: str, lines: Sequence[Values], least: float, unit: str = "") -> None:
        """Title, and an axis from 0 to a round number above all values, `least` at least."""
        most = max([least, *(value for line in lines for value in line if value is not None)])
        step = _round_step(most / 3)
        self._most = math.ceil(most / step - 1e-9) * step
        self._text(0, 13, title, 'font-size="12.5" font-weight="600"')
        for tick in range(round(self._most / step) + 1):
            y = self._up(tick * step)
            self._line((_LEFT, y), (_WIDE - _RIGHT, y), "currentColor", f'opacity="{0.15 if tick else 0.6}"')
            label = f"{tick * step:,.6g}" + (f" {unit}" if unit else "")
            self._text(_LEFT - 5, y + 4, label, 'text-anchor="end" opacity="0.8"')

    def keys(self, keys: Sequence[_Key]) -> None:
        """What the lines mean, below the title."""
        x = float(_LEFT)
        for name, colour, dashes in keys:
            self._line((x, 26), (x + 18, 26), colour, f'stroke-width="2" stroke-dasharray="{dashes}"')
            self._text(x + 22, 30, escape(name), "")
            x += 34 + 6.2 * len(name)

    def line(self, time: Sequence[float], values: Values, colour: str, dashes: str = "") -> None:
        """A line, with gaps where nothing is known."""
        path, pen = "", "M"
        for t, value in zip(time, values, strict=True):
            if value is None:
                pen = "M"
            else:
                path += f"{pen}{self._across(t + STEP):.1f} {self._up(value):.1f}"
                pen = "L"
        style = f'stroke="{colour}" stroke-width="1.8" stroke-dasharray="{dashes}"'
        self._parts.append(f'<path d="{path}" fill="none" stroke-linejoin="round" stroke-linecap="round" {style}/>')

    def area(self, time: Sequence[float], lower: Values, upper: Values, colour: str) -> None:
        """What is between two lines of steps."""
        path = ""
        for t, low, high in zip(time, lower, upper, strict=True):
            if low is not None and high is not None and high > low:
                left, right = self._across(t), self._across(t + STEP) + 0.3  # so that neighbours touch
                path += f"M{left:.1f} {self._up(low):.1f}H{right:.1f}V{self._up(high):.1f}H{left:.1f}Z"
        self._parts.append(f'<path d="{path}" fill="{colour}"/>')

    def draw_marks(self, marks: Sequence[Mark], now: float, named: bool) -> None:
        """The faults: shaded for as long as they last, with their names above where there is room for them."""
        end_of = [0.0] * _ROWS  # how far each row of names is used
        for mark in marks:
            family = FAMILIES.get(mark.family, FAMILIES["worker"])
            colour = "currentColor" if family.colour == style.INK else family.colour
            left = self._across(max(mark.start, self._begin))
            right = self._across(now if mark.end is None else mark.end)
            self._parts.append(
                f'<rect x="{left:.1f}" y="{_TOP}" width="{max(0, right - left):.1f}" height="{_HIGH - _BOTTOM - _TOP}" '
                f'fill="{colour}" opacity="0.12"><title>{escape(mark.name)}</title></rect>'
            )
            if mark.start < self._begin:
                continue
            self._line((left, _TOP), (left, _HIGH - _BOTTOM), colour, 'stroke-dasharray="4 3" opacity="0.9"')
            row = next((row for row, used in enumerate(end_of) if used <= left), None)
            if named and row is not None:
                wide = 5.6 * len(mark.name)
                x = min(left - 2, _WIDE - _RIGHT - wide)
                end_of[row] = x + wide + 6
                self._text(x, _TOP - 4 - 12 * row, escape(mark.name), 'font-size="10.5"')

    def text(self) -> str:
        """The panel as SVG."""
        return f'<g transform="translate({self._x} {self._y})">{"".join(self._parts)}</g>'

    def _across(self, time: float) -> float:
        share = min(max((time - self._begin) / SECONDS, 0.0), 1.0)
        return _LEFT + share * (_WIDE - _LEFT - _RIGHT)

    def _up(self, value: float) -> float:
        return _HIGH - _BOTTOM - value / self._most * (_HIGH - _BOTTOM - _TOP)

    def _line(self, start: tuple[float, float], end: tuple[float, float], colour: str, more: str) -> None:
        ends = f'x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"'
        self._parts.append(f'<line {ends} stroke="{colour}" {more}/>')

    def _text(self, x: float, y: float, text: str, more: str) -> None:
        self._parts.append(f'<text x="{x:.1f}" y="{y:.1f}" {more}>{text}</text>')


def _round_step(least: float) -> float:
    """1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
