"""Experiments that come with the package, each a TOML file with the question that it answers.

`streamlab scenarios` lists them, `streamlab run zombie --workers 5` runs one with one setting changed.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from streamlab.errors import MissingError

_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The names of all scenarios, in the order of the alphabet."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def find(name: str) -> Path:
    """The file of a scenario, or `name` itself where that is a file. Raises MissingError, with what there is."""
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        return path
    if name not in names():
        raise MissingError(f"{name}: no such file and no such scenario; there are: {', '.join(names())}")
    return _FOLDER / f"{name}.toml"


def describe() -> list[dict[str, str]]:
    """Name, question and guarantee of each."""
    rows = []
    for name in names():
        table = tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
        guarantee = table.get("guarantee", "at-least-once")
        rows.append({"name": name, "guarantee": guarantee, "question": table["question"]})
    return rows
