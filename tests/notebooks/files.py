"""What the tests of notebooks do with a notebook's file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]

Write = Callable[..., Path]


def outputs(path: Path) -> str:
    """All that the code cells of a notebook show, as text."""
    return json.dumps([cell.get("outputs") for cell in json.loads(path.read_text())["cells"]], ensure_ascii=False)


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
