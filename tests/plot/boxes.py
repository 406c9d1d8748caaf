"""What is written in a picture, and where."""

from __future__ import annotations

from itertools import combinations

from matplotlib.figure import Figure
from matplotlib.text import Text


def written(figure: Figure) -> list[Text]:
    """All texts that a reader sees: of the labels of ticks only those within the axes."""
    figure.draw_without_rendering()
    found: list[Text] = []
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            found += [label for tick in ticks for label in (tick.label1, tick.label2)]
            found.append(axis.label)
        found += [axes._left_title, *axes.texts]  # type: ignore[attr-defined]
        if (legend := axes.get_legend()) is not None:
            found += legend.get_texts()
    for legend in figure.legends:
        found += legend.get_texts()
    return [text for text in [*found, *figure.texts] if text.get_visible() and text.get_text()]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in written(figure)]


def assert_readable(figure: Figure, *, rotated: bool = False) -> None:
    """Nothing is cut off by the sheet's edge; no two texts stand on each other, unless they are rotated."""
    boxes = [(text.get_text(), text.get_window_extent()) for text in written(figure)]
    for text, box in boxes:
        sides = box.x0 - figure.bbox.x0, figure.bbox.x1 - box.x1, box.y0 - figure.bbox.y0, figure.bbox.y1 - box.y1
        assert min(sides) >= 0, f"{text!r} is cut off"
    for (one, its), (other, others) in combinations(boxes, 2):
        both = min(its.x1, others.x1) - max(its.x0, others.x0), min(its.y1, others.y1) - max(its.y0, others.y0)
        assert rotated or min(both) <= 2, f"{one!r} stands on {other!r}"


def drawn(figure: Figure, gid: str) -> list:
    """The artists of one kind."""
    return figure.findobj(lambda artist: artist.get_gid() == gid)
