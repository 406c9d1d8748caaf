"""What the tests of notebooks do with a notebook's file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nbformat import write as write_notebook
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

REPOSITORY = Path(__file__).resolve().parents[2]


def written(folder: Path, *codes: str, name: str = "07_made_up.ipynb") -> Path:
    """Write a notebook of these code cells, under a heading."""
    cells = [new_markdown_cell("# Does it run?", id="heading"), *map(new_code_cell, codes)]
    write_notebook(new_notebook(cells=cells), folder / name)
    return folder / name


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
