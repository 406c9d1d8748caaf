"""How all pictures look: colours, text and axes.

Every colour is set on the artist itself: a notebook may have chosen a dark style of its own, and white text on our
white ground would be no text. The ground is white and opaque, so that a picture reads the same in JupyterLab's dark
theme.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.patheffects import withStroke
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter

from streamlab.history import History

Colour = tuple[float, float, float]

# Okabe and Ito's colours, told apart by colour-blind readers; without black, which is text, and yellow, too pale.
BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, GREY = "#56B4E9", "#CC79A7", "#999999"
# The last grey is a dark one: some readers see purple as a light one.
COLOURS = (BLUE, ORANGE, GREEN, SKY, PURPLE, VERMILION, "#5A5A5A")
_ROUNDS = ((0.0, "white", ""), (0.3, "white", "////"), (0.4, "black", "...."))  # a share of it, and a hatch
INK, FAINT, GROUND = "#222222", "#DDDDDD", "#EFEFEF"
TITLE, TEXT, SMALL = 12, 10, 9
DPI = 100
HALO = [withStroke(linewidth=3, foreground="white", alpha=0.7)]
#: So many messages and more are drawn as density: as points or bars of their own they would hide each other.
DENSE = 10_000

_WORKERS = ("read", "claimed", "own", "started", "done")  # what only workers write
_AFTER = ("phase", "worker_exit")  # what may come after the work, and is nothing to look at


def plain(text: object, most: int = 32) -> str:
    """A name as matplotlib can draw it whatever it holds: no formula, no glyph that is missing, not endless."""
    name = "".join(letter if ord(letter) in _glyphs() else "?" for letter in str(text))
    name = name if len(name) <= most else name[: most - 1] + "…"
    name = name.replace("$", r"\$")
    return f" {name}" if name.startswith("_") else name  # a legend leaves out what begins with an underscore


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap()) - set(range(32))


def in_order(names: Iterable[str]) -> list[str]:
    """Each name once, worker-2 before worker-10."""
    return sorted(
        set(names), key=lambda name: [part.zfill(20) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
    )


def consumer_colours(names: Iterable[str]) -> dict[str, Colour]:
    """A colour for each consumer, in their order.

    The eighth consumer and the next have the colours again, paler, and the fifteenth and the next darker: where
    neither a place nor a word tells them apart, their `hatches` do.
    """
    colours = {}
    for n, name in enumerate(in_order(names)):
        share, other, _ = _ROUNDS[n // len(COLOURS) % len(_ROUNDS)]
        colours[name] = mixed(COLOURS[n % len(COLOURS)], other, share)
    return colours


def hatches(names: Iterable[str]) -> dict[str, str]:
    """A hatch for each consumer, none for the first seven: more colours than that nobody tells apart."""
    return {name: _ROUNDS[n // len(COLOURS) % len(_ROUNDS)][2] for n, name in enumerate(in_order(names))}


def mixed(colour: str | Colour, other: str, share: float) -> Colour:
    """The colour with a `share` of the other in it."""
    red, green, blue = (1 - share) * np.array(to_rgb(colour)) + share * np.array(to_rgb(other))
    return float(red), float(green), float(blue)


def colours(history: History) -> dict[str, Colour]:
    """The colour of each consumer, the same in every picture of one history."""
    events, samples = history.events, history.samples
    workers = events["process"][events["kind"].isin(_WORKERS).to_numpy()].unique()
    consumers = samples["consumer"][(samples["metric"] == "pending").to_numpy()].unique()
    return consumer_colours(str(name) for name in [*workers, *consumers])


def end_of(history: History) -> float:
    """Where the pictures of a history end, in s: when the workers were told to go home, or the last work after that."""
    events = history.events
    stop = events["time"][((events["kind"] == "phase") & (events["note"] == "stop")).to_numpy()]
    if stop.empty:
        return max(history.end, 0.1)
    work = events["time"][~events["kind"].isin(_AFTER).to_numpy()]
    return max(float(stop.iloc[-1]), float(work.max()) if len(work) else 0.0, 0.1)


def sheet(rows: int, height: float, shares: Sequence[float] | None = None) -> tuple[Figure, list[Axes]]:
    """A white sheet of axes one above the other, sharing their seconds; `height` in inches, divided by `shares`."""
    figure = Figure(figsize=(9, height), dpi=DPI, facecolor="white", layout="constrained")
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False, height_ratios=shares)[:, 0]
    for one in axes:
        one.set_facecolor("white")
        one.grid(True, color=FAINT, linewidth=0.6)
        one.set_axisbelow(True)
        one.tick_params(colors=INK, labelsize=SMALL)
        for side in ("top", "right"):
            one.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            one.spines[side].set_color(INK)
    return figure, list(axes)


def label(axes: Axes, title: str, unit: str, seconds: bool = True) -> None:
    """Title and units; the lowest axes carry the seconds."""
    axes.set_title(title, loc="left", fontsize=TITLE, color=INK, pad=6)
    axes.set_ylabel(unit, fontsize=TEXT, color=INK)
    if seconds:
        axes.set_xlabel("seconds since the start", fontsize=TEXT, color=INK)


def counted(axes: Axes, most: float) -> None:
    """From none to `most`: messages are counted, in whole numbers."""
    axes.set_ylim(0, max(1.0, most * 1.05))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_formatter("{x:,.0f}")


def durations(axes: Axes, logarithmic: bool) -> None:
    """10 ms, 1 s."""
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(EngFormatter(unit="s"))


def legend(axes: Axes, stacked: bool = False, handles: Sequence[Artist] | None = None) -> None:
    """Right of the data, never on it; in the order of what is `stacked` in the picture."""
    found = list(handles) if handles is not None else axes.get_legend_handles_labels()[0]
    if stacked:
        found = found[::-1]
    if found:
        box = axes.legend(
            found,
            [str(one.get_label()) for one in found],
            loc="upper left",
            bbox_to_anchor=(1.01, 1.0),
            borderaxespad=0,
            frameon=False,
            ncols=1 + (len(found) - 1) // 12,
            handlelength=1.6,
            columnspacing=1,
        )
        for text in box.get_texts():
            text.set(fontsize=SMALL, color=INK)


def nothing(axes: Axes, what: str) -> None:
    """Say that there is nothing to draw, rather than leave a reader to guess."""
    axes.set_yticks([])
    axes.text(0.5, 0.5, what, transform=axes.transAxes, ha="center", va="center", fontsize=TEXT, color=INK)
