"""How all pictures look: colours, text, axes, and the faults drawn into them.

Every colour is set on the artist itself: a notebook may have chosen a dark style of its own, and white text on our
white ground would be no text. The ground is white and opaque, so that a picture reads the same in JupyterLab's dark
theme.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter

# Okabe and Ito's colours, told apart by colour-blind readers; without black, which is text, and yellow, too pale.
BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, GREY = "#56B4E9", "#CC79A7", "#999999"
COLOURS = (BLUE, ORANGE, GREEN, SKY, PURPLE, VERMILION, GREY)
INK, FAINT = "#222222", "#DDDDDD"
FAULT = "#B00020"
TITLE, TEXT, SMALL = 12, 10, 9


def consumer_colours(names: Iterable[str]) -> dict[str, tuple[float, float, float]]:
    """A colour for each consumer, the same in every picture of one history; worker-2 goes before worker-10.

    The eighth consumer and the next have the colours again, paler, and the fifteenth and the next darker.
    """
    ordered = sorted(set(names), key=lambda name: [(p.isdigit(), p.zfill(20)) for p in re.split(r"(\d+)", name)])
    rounds = ((0.0, "white"), (0.55, "white"), (0.4, "black"))
    colours = {}
    for n, name in enumerate(ordered):
        share, other = rounds[n // len(COLOURS) % len(rounds)]
        mixed = (1 - share) * np.array(to_rgb(COLOURS[n % len(COLOURS)])) + share * np.array(to_rgb(other))
        colours[name] = (float(mixed[0]), float(mixed[1]), float(mixed[2]))
    return colours


def sheet(rows: int, height: float) -> tuple[Figure, list[Axes]]:
    """A white sheet of axes one above the other, sharing their seconds."""
    figure = Figure(figsize=(9, height), facecolor="white", layout="constrained")
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
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


def whole_numbers(axes: Axes) -> None:
    """Messages are counted."""
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))


def durations(axes: Axes, logarithmic: bool) -> None:
    """10 ms, 1 s."""
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(EngFormatter(unit="s"))


def legend(axes: Axes, stacked: bool = False) -> None:
    """Right of the data, never on it; in the order of what is `stacked` in the picture."""
    handles, labels = axes.get_legend_handles_labels()
    if stacked:
        handles, labels = handles[::-1], labels[::-1]
    if handles:
        box = axes.legend(
            handles,
            labels,
            loc="upper left",
            bbox_to_anchor=(1.01, 1.0),
            borderaxespad=0,
            frameon=False,
            ncols=1 + (len(handles) - 1) // 12,
            handlelength=1.6,
            columnspacing=1,
        )
        for text in box.get_texts():
            text.set(fontsize=SMALL, color=INK)


def nothing(axes: Axes, what: str) -> None:
    """Say that there is nothing to draw, rather than leave a reader to guess."""
    axes.text(0.5, 0.5, what, transform=axes.transAxes, ha="center", va="center", fontsize=TEXT, color=INK)


def draw_faults(axes: Sequence[Axes], faults: pd.DataFrame, end: float) -> None:
    """Shade each fault on all axes, behind the data, and name it above the first, on the lowest line with room."""
    taken: list[float] = []  # how far each line of names is used, in seconds
    letter = end / 95
    for fault in faults.sort_values("start").to_dict("records"):
        start, name = fault["start"], fault["name"]
        until = end if pd.isna(fault["end"]) else fault["end"]
        for one in axes:
            one.axvspan(start, max(until, start), color=FAULT, alpha=0.09, linewidth=0, zorder=0.5)
            one.axvline(start, color=FAULT, linewidth=1.3, linestyle=(0, (4, 2)), zorder=4)
        width = (len(name) + 3) * letter
        fits = start + width <= end or start - width < 0
        left = start if fits else start - width
        line = next((n for n, used in enumerate(taken) if used <= left), len(taken))
        taken[line : line + 1] = [left + width]
        axes[0].annotate(
            f"✕ {name}" if fits else f"{name} ✕",
            (start, 1.0),
            xycoords=axes[0].get_xaxis_transform(),
            xytext=(-4 if fits else 4, 3 + 12 * line),
            textcoords="offset points",
            ha="left" if fits else "right",
            fontsize=SMALL,
            color=FAULT,
            annotation_clip=False,
        )
    if taken:  # the title goes above the names
        axes[0].set_title(axes[0].get_title(loc="left"), loc="left", pad=8 + 12 * len(taken))
