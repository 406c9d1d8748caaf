from __future__ import annotations

from pathlib import Path

import pytest
from nbformat import write as write_notebook
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tests.notebooks.files import Write


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a notebook of these code cells, under a heading."""

    def write(*codes: str, name: str = "07_made_up.ipynb") -> Path:
        path = tmp_path / name
        cells = [new_markdown_cell("# Does it run?", id="heading"), *map(new_code_cell, codes)]
        write_notebook(new_notebook(cells=cells), path)
        return path

    return write
