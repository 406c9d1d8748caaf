"""The faults in a picture: shaded for as long as they lasted, and named above it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.text import Annotation

from streamlab.plot import style

_LINES = 4  # lines of names above a picture; a name that finds no room there is left out
_LINE = 12  # points
_FEW = 8  # faults with bold lines
_INSTANT = 0.002  # of the picture's width: nothing is seen of a shade so narrow


@dataclass(frozen=True)
class Family:
    """How faults of one family look; never by the colour alone."""

    colour: str
    sign: str
    dashes: Any


FAMILIES = {
    "worker": Family(style.VERMILION, "✕", (0, (4, 2))),
    "wire": Family(style.PURPLE, "↯", (0, (1, 1.5))),
    "redis": Family(style.INK, "▣", "solid"),
    "operator": Family(style.GREEN, "⚒", (0, (6, 2, 1, 2))),
}


@dataclass(frozen=True)
class _Shown:
    """A fault as far as a picture shows it (s); `began`: in the picture, and not before it."""

    start: float
    end: float
    began: bool
    name: str
    target: str
    family: Family


def draw_faults(
    axes: Sequence[Axes],
    faults: pd.DataFrame,
    window: tuple[float, float],
    lanes: Mapping[str, tuple[float, float]] | None = None,
) -> None:
    """Shade each fault on all axes, behind the data, and name it above the first of them.

    An instant is a line; what was never undone goes on to the end. Where a picture has `lanes` (from, to), a fault of
    one of them is shaded there only.
    """
    shown = _shown(faults, window)
    thin = 1.3 if len(shown) <= _FEW else 0.8
    for one in axes:
        for fault in shown:
            colour, lane = fault.family.colour, (lanes or {}).get(fault.target)
            if fault.end - fault.start <= _INSTANT * (window[1] - window[0]):
                pass  # a line is all there is to see
            elif lane is None:
                one.axvspan(fault.start, fault.end, color=colour, alpha=0.1, linewidth=0, zorder=0.5, gid="shade")
            else:
                span = [fault.start, fault.end]
                one.fill_between(span, *lane, color=colour, alpha=0.25, linewidth=0, zorder=0.6, gid="shade")
            if fault.began:
                dashes = fault.family.dashes
                one.axvline(fault.start, color=colour, linewidth=thin, linestyle=dashes, zorder=4, gid="fault")
    if shown:
        _name_all(axes[0], shown, window)


def _shown(faults: pd.DataFrame, window: tuple[float, float]) -> list[_Shown]:
    begin, end = window
    shown = []
    for fault in faults.sort_values("start", kind="stable").to_dict("records"):
        start, until = float(fault["start"]), end if pd.isna(fault["end"]) else float(fault["end"])
        if start <= end and until >= begin:
            family = fault["family"] if fault["family"] in FAMILIES else "worker"  # who says nothing hits a worker
            name = style.plain(fault["name"], 40) + ("" if family == "worker" else f" ({family})")
            place = max(start, begin), min(until, end), start >= begin
            shown.append(_Shown(*place, name, str(fault["target"]), FAMILIES[family]))
    return shown


def _name_all(axes: Axes, shown: Sequence[_Shown], window: tuple[float, float]) -> None:
    """Name the faults above the axes; the title counts those whose names find no room."""
    figure = axes.get_figure(root=True)
    assert figure is not None  # a sheet's axes are on it
    axes.set_xlim(window)
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)  # only now it is known how wide the axes are, and how many letters fit
    taken: list[float] = []  # how far each line of names is used, in pixels
    placed = [_place(_name(axes, fault), taken, figure.bbox.x1 - 4) for fault in shown]
    unnamed = "" if all(placed) else f" (and {placed.count(False)} faults without a name)"
    axes.set_title(axes.get_title(loc="left") + unnamed, loc="left", pad=8 + _LINE * len(taken))  # above the names
    # The names take no room from what they explain.
    figure.set_figheight(figure.get_figheight() + _LINE * (len(taken) - 1) / 72)


def _name(axes: Axes, fault: _Shown) -> Annotation:
    return axes.annotate(
        f"{fault.family.sign} {fault.name}",
        (fault.start, 1.0),
        xycoords=axes.get_xaxis_transform(),
        xytext=(-4, 3),
        textcoords="offset points",
        fontsize=style.SMALL,
        color=style.mixed(fault.family.colour, "black", 0.25),
        annotation_clip=False,
        gid="fault name",
    )


def _place(name: Annotation, taken: list[float], edge: float) -> bool:
    """Move the name up to the lowest line with room for it, or remove it where there is none."""
    box, shift = name.get_window_extent(), 0.0
    if box.x1 > edge:  # no room to the right: it ends where its fault begins, sign last
        name.set_text(" ".join(name.get_text().split(" ", 1)[::-1]))
        name.set_horizontalalignment("right")
        name.xyann = (4, 3)
        box = name.get_window_extent()
        shift = max(0.0, 4 - box.x0)
    left, right = box.x0 + shift, box.x1 + shift
    line = next((n for n, used in enumerate(taken) if used <= left), len(taken))
    if line == _LINES or right > edge + 8:
        name.remove()
        return False
    name.xyann = (name.xyann[0] + shift * 72 / style.DPI, 3 + _LINE * line)
    taken[line : line + 1] = [right + 10]
    return True
