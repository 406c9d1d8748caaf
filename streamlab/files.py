"""Files that are there whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path


def write_json(path: str | Path, data: object) -> None:
    """Write a JSON file whole or not at all: to a draft beside it, then rename."""
    path = Path(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(path)
