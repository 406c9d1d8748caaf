"""A text that shows itself in a cell as it is, not quoted and on one line."""

from __future__ import annotations

from typing import Any


class Text(str):
    """What a cell shows: `str` and Jupyter's plain text are the same."""

    __slots__ = ()

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))
