"""What the outputs of a notebook must not tell: times, addresses in memory, the paths of this machine."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamlab.errors import StreamlabError
from streamlab.notebooks.notebook import REPOSITORY

_VOLATILE = (
    (re.compile(r"\bipykernel_\d+/\d+\.py"), "cell.py"),
    (re.compile(r"\b0x[0-9a-f]{6,16}\b"), "0x…"),
)
_ABSOLUTE = re.compile(
    r"(?<![\w.…:/-])/(?:home|Users|root|tmp|private|var|usr|opt|srv|mnt|media|work|workspace|builds|app)/[\w.][^\s'\"<>,;]*"
)
_NOT_TEXT = re.compile(r"(image|audio|video)/(?!svg)|application/pdf")
_WIDGET = "application/vnd.jupyter.widget-view+json"


class NotebookError(StreamlabError):
    """A notebook that does not run to its end, or whose outputs must not be stored.

    Attributes:
        cell: the number of the cell, counted from 1 over all cells; 0 if it is about none.
        traceback: what the kernel reported, as in Jupyter but without colours; empty if it reported nothing.
    """

    exit_code = 70

    def __init__(self, text: str, *, cell: int = 0, traceback: str = "") -> None:
        super().__init__(text)
        self.cell = cell
        self.traceback = traceback


def machine_paths(notebook: Any) -> list[tuple[int, str]]:
    """Return the absolute paths in a notebook's outputs, each after the number of its cell, counted from 1."""
    return [
        (number, found)
        for number, cell in enumerate(notebook.cells, start=1)
        for output in cell.get("outputs", ())
        for text in _texts(output)
        for found in _ABSOLUTE.findall(text)
    ]


def normalise(notebook: Any, path: Path, source: str) -> None:
    """Take out of a notebook what the next execution, or another machine, would change for no reason."""
    kept = {key: value for key, value in notebook.metadata.items() if key not in ("widgets", "vscode", "interpreter")}
    notebook.metadata = kept | {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "streamlab": kept.get("streamlab", {}) | {"source_sha256": source},
    }
    clean = _cleaner(path)
    for cell in notebook.cells:
        for key in ("execution", "ExecuteTime", "collapsed", "scrolled"):
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            cell.outputs = [_mapped(output, clean) for output in cell.outputs if not _lives(output)]
    for number, found in machine_paths(notebook):
        raise NotebookError(
            f"{path.name}, cell {number}: its output names {found!r}, a path of this machine, and was not stored: "
            "print a relative path",
            cell=number,
        )


def _lives(output: Any) -> bool:
    """Whether it is a widget, which is nothing without its kernel; one that is told in HTML too is from now on that."""
    data = output.get("data", {})
    return data.pop(_WIDGET, None) is not None and "text/html" not in data


def _cleaner(path: Path) -> Callable[[str], str]:
    """A function that takes the paths of this machine out of a text, the longest first."""
    folders = {Path(folder) for folder in (REPOSITORY, path.parent, sys.prefix, sys.base_prefix, tempfile.gettempdir())}
    folders.add(Path.home())
    folders |= {folder.resolve() for folder in folders}
    named = sorted((str(folder) for folder in folders if len(folder.parts) > 1 and folder.is_absolute()), key=len)
    ours = re.compile(rf"(?<![\w.…/-])(?:{'|'.join(map(re.escape, reversed(named)))})(?![\w-])")

    def clean(text: str) -> str:
        text = ours.sub("…", text)
        for pattern, instead in _VOLATILE:
            text = pattern.sub(instead, text)
        return text

    return clean


def _texts(value: Any) -> list[str]:
    """All texts inside an output, pictures and sounds left out."""
    found: list[str] = []

    def keep(text: str) -> str:
        found.append(text)
        return text

    _mapped(value, keep)
    return found


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """An output with each text inside it changed, pictures and sounds left alone."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        changed = {key: item if _NOT_TEXT.match(key) else _mapped(item, change) for key, item in value.items()}
        return type(value)(changed)
    if isinstance(value, list):
        return [_mapped(item, change) for item in value]
    return value
