"""A figure that shows itself in Jupyter and saves itself whole, without pyplot and its global state."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from streamlab.files import write_whole
from streamlab.plot.style import DPI

_KEPT = 160  # colours that are the same in the file


class Picture:
    """A drawing of a history. `figure` is matplotlib's, for those who want to change it."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure
        FigureCanvasAgg(figure)
        # Lay it out once and for all: a second layout starts from the first, and moves things by a pixel.
        figure.set_dpi(DPI)
        if (engine := figure.get_layout_engine()) is not None:
            engine.execute(figure)
            figure.set_layout_engine("none")

    def save(self, path: str | Path) -> Path:
        """Write it whole or not at all; the suffix says in which format (.png, .svg, .pdf)."""
        path = Path(path)
        write_whole(path, self._bytes(path.suffix.lstrip(".") or "png"))
        return path

    def __repr__(self) -> str:
        titles = [axes.get_title("left") or axes.get_title() for axes in self.figure.axes]
        return f"Picture({' / '.join(title for title in titles if title)})"

    def _repr_png_(self) -> bytes:
        return self._bytes("png")

    def _bytes(self, form: str) -> bytes:
        # Without the date and the random names in it, the same history gives the same file.
        file = BytesIO()
        if form != "png":
            undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
            with mpl.rc_context({"svg.hashsalt": "streamlab"}):
                self.figure.savefig(file, format=form, metadata=undated.get(form))
            return file.getvalue()
        canvas: Any = FigureCanvasAgg(self.figure)
        canvas.draw()
        _lighter(np.asarray(canvas.buffer_rgba())[:, :, :3]).save(file, "png", optimize=True)
        return file.getvalue()


def _lighter(image: npt.NDArray[np.uint8]) -> Image.Image:
    """A notebook carries its pictures along: with 256 colours they weigh a third.

    The most frequent colours stay as they are, so that an area has its colour in every picture; the rims of letters
    and lines take the nearest of them, or of a few that are chosen for them: a small name keeps its colour, too.
    """
    pixels = image.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    colours, times = np.unique(pixels, return_counts=True)
    parts = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1).astype(np.float32)
    order = np.argsort(-times, kind="stable")
    chosen, rare = parts[order[:_KEPT]], order[_KEPT:]
    if len(rare):
        strip = Image.fromarray(parts[rare][None].astype(np.uint8)).quantize(256 - _KEPT, Image.Quantize.MEDIANCUT)
        chosen = np.concatenate([chosen, np.array(strip.getpalette(), np.float32).reshape(-1, 3)[: 256 - _KEPT]])
    nearest = np.argmin((chosen**2).sum(axis=1) - 2 * parts @ chosen.T, axis=1).astype(np.uint8)
    light = Image.fromarray(nearest[np.searchsorted(colours, pixels)], mode="P")
    light.putpalette(chosen.astype(np.uint8).tobytes())
    return light
