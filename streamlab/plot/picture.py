"""A figure that shows itself in Jupyter and saves itself whole, without pyplot and its global state."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

_DPI = 100


class Picture:
    """A drawing of a history. `figure` is matplotlib's, for those who want to change it."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure
        FigureCanvasAgg(figure)
        # Lay it out once and for all: a second layout starts from the first, and moves things by a pixel.
        figure.set_dpi(_DPI)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")

    def save(self, path: str | Path) -> Path:
        """Write it whole or not at all; the suffix says in which format (.png, .svg, .pdf)."""
        path = Path(path)
        draft = path.with_name(f".{os.getpid()}.{path.name}")
        try:
            draft.write_bytes(self._bytes(path.suffix.lstrip(".") or "png"))
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        return path

    def __repr__(self) -> str:
        titles = [axes.get_title("left") or axes.get_title() for axes in self.figure.axes]
        return f"Picture({' / '.join(title for title in titles if title)})"

    def _repr_png_(self) -> bytes:
        return self._bytes("png")

    def _bytes(self, form: str) -> bytes:
        # Without the date in it, the same history gives the same file.
        file = BytesIO()
        if form != "png":
            undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
            self.figure.savefig(file, format=form, metadata=undated.get(form))
            return file.getvalue()
        # A notebook carries its pictures along: 128 colours are enough, and weigh a third.
        pixels = BytesIO()
        self.figure.savefig(pixels, format="png", dpi=_DPI)
        Image.open(pixels).convert("RGB").quantize(128, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
            file, "png", optimize=True
        )
        return file.getvalue()
