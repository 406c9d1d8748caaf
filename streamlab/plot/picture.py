"""A figure that shows itself in Jupyter and saves itself whole, without pyplot and its global state."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from streamlab.history.files import write_whole
from streamlab.plot.style import styled

_UNDATED = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}  # the same history gives the same file


class Picture:
    """A drawing of a history. `figure` is matplotlib's, for those who want to change it."""

    @styled
    def __init__(self, figure: Figure) -> None:
        self.figure = figure
        FigureCanvasAgg(figure)
        # Lay it out once and for all: a second layout starts from the first, and moves things by a pixel.
        if (engine := figure.get_layout_engine()) is not None:
            engine.execute(figure)
            figure.set_layout_engine("none")

    def save(self, path: str | Path) -> Path:
        """Write it whole or not at all; the suffix says in which format (.png, .svg, .pdf)."""
        path = Path(path)
        write_whole(path, self._bytes(path.suffix.lstrip(".") or "png"))
        return path

    def __repr__(self) -> str:
        titles = [axes.get_title("left") for axes in self.figure.axes]
        return f"Picture({' / '.join(title for title in titles if title)})"

    @styled
    def _bytes(self, form: str) -> bytes:
        file = BytesIO()
        if form == "png":
            self._pixels().save(file, "png")
        else:
            self.figure.savefig(file, format=form, metadata=_UNDATED.get(form))
        return file.getvalue()

    @styled
    def _repr_png_(self) -> bytes:
        file = BytesIO()
        # A notebook carries its pictures along: with 256 colours they weigh a third.
        self._pixels().quantize(kmeans=1).save(file, "png", optimize=True)
        return file.getvalue()

    def _pixels(self) -> Image.Image:
        canvas: Any = FigureCanvasAgg(self.figure)
        canvas.draw()
        return Image.fromarray(np.asarray(canvas.buffer_rgba())[:, :, :3])
