"""How all pictures look: one style of matplotlib, a colour for each consumer, and axes with their units."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import matplotlib.style
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.patheffects import withStroke
from matplotlib.ticker import Formatter, LogLocator, MaxNLocator, NullFormatter

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

_STYLE = {
    "figure.dpi": DPI,
    "font.size": TEXT,
    "text.color": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": TITLE,
    "axes.titlecolor": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "legend.borderaxespad": 0,
    "legend.handlelength": 1.6,
    "legend.columnspacing": 1,
    "svg.hashsalt": "streamlab",  # no random names in the file
}
_one_at_a_time = threading.RLock()  # matplotlib's settings are global: of two threads one would restore the other's


@contextmanager
def _style() -> Iterator[None]:
    with _one_at_a_time, matplotlib.style.context(["default", _STYLE]):
        yield


#: Decorates what draws or saves a picture. A notebook's own style, a dark one perhaps, changes nothing in it, and its
#: ground is white and opaque, so that it reads the same in JupyterLab's dark theme.
styled = _style()

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
    """Where the pictures of a history end (s): at the start of the stop phase, or with the last work after that."""
    events = history.events
    stop = events["time"][((events["kind"] == "phase") & (events["note"] == "stop")).to_numpy()]
    if stop.empty:
        return max(history.end, 0.1)
    work = events["time"][~events["kind"].isin(_AFTER).to_numpy()]
    return max(float(stop.iloc[-1]), float(work.max()) if len(work) else 0.0, 0.1)


def sheet(rows: int, height: float) -> tuple[Figure, list[Axes]]:
    """Axes one above the other that share their horizontal axis; `height` in inches."""
    figure = Figure(figsize=(9, height), layout="constrained")
    return figure, list(figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0])


def label(axes: Axes, title: str, y: str, x: str = "seconds since the start") -> None:
    """Title, and what stands at the axes, with its unit."""
    axes.set(title=title, xlabel=x, ylabel=y)


def counted(axes: Axes, most: float) -> None:
    """From none to `most`: messages are counted, in whole numbers."""
    axes.set_ylim(0, max(1.0, most * 1.05))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_formatter("{x:,.0f}")


def amounts(axis: Axis, logarithmic: bool, form: Callable[[float, float], str] | Formatter) -> None:
    """Round numbers, each written as `form` has it."""
    if logarithmic:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
        axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(form)


def legend(axes: Axes, stacked: bool = False, handles: Sequence[Artist] | None = None) -> None:
    """Right of the data, never on it; in the order of what is `stacked` in the picture."""
    found = axes.get_legend_handles_labels()[0] if handles is None else list(handles)
    if found:
        columns = 1 + (len(found) - 1) // 12
        axes.legend(handles=found, reverse=stacked, loc="upper left", bbox_to_anchor=(1.01, 1.0), ncols=columns)


def nothing(axes: Axes, what: str) -> None:
    """Say that there is nothing to draw, rather than leave a reader to guess."""
    axes.set_yticks([])
    axes.text(0.5, 0.5, what, transform=axes.transAxes, ha="center", va="center")
