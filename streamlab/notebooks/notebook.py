"""A notebook as a file: found by its name, read, and stored with outputs as young as its code."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from streamlab.errors import DataError, MissingError, UsageError

REPOSITORY = Path(__file__).resolve().parents[2]


def find_notebooks(names: Sequence[str] = (), *, folder: Path | None = None) -> list[Path]:
    """Return the notebooks of these names, in this order; all of them, sorted, for no name.

        find_notebooks(["00"])                        # by the number that its name begins with
        find_notebooks(["00_start_here"])             # by its name
        find_notebooks(["notebooks/mine.ipynb"])      # by its path

    Looked for in `folder`: if None, the notebooks/ of the checkout that this package stands in, else ./notebooks.

    Raises `MissingError` for a name that fits nothing, listing what there is, and `UsageError` for one that fits two.
    """
    by_path = {name: Path(name) for name in names if name.endswith(".ipynb") and Path(name).is_file()}
    if names and len(by_path) == len(set(names)):
        return list(by_path.values())
    folder = folder or _folder()
    there = sorted(path for path in folder.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
    if not there:
        raise MissingError(f"no notebooks in {folder}: run this in a checkout of streamlab, or give a notebook's path")
    if not names:
        return there
    return list(dict.fromkeys(by_path.get(name) or _named(name, there) for name in names))


def load(path: Path) -> Any:
    """Return the notebook, with an id on each cell that does not depend on when it was read."""
    import nbformat

    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingError(f"no notebook {path}: check the path") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a notebook: {error}") from None
    cells = raw.get("cells") if isinstance(raw, dict) and raw.get("nbformat") == 4 else None
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise DataError(f"{path} is not a notebook of format 4: open it in JupyterLab and save it")
    raw["nbformat_minor"] = max(5, raw.get("nbformat_minor", 0))  # the first that has ids
    _give_ids(cells)
    try:
        nbformat.validate(raw)
    except nbformat.ValidationError as error:
        raise DataError(f"{path} is damaged: {str(error).splitlines()[0]}") from None
    return nbformat.v4.reads(json.dumps(raw))  # type: ignore[no-untyped-call]


def stale(path: Path) -> bool:
    """Whether the outputs in a notebook are not those of one clean execution of the code that it has now.

    Text may be edited freely: only code makes outputs.
    """
    notebook = load(path)
    counts = [cell.execution_count for cell in notebook.cells if has_code(cell)]
    stored = notebook.metadata.get("streamlab", {}).get("source_sha256")
    return bool(stored != source_sha256(notebook) or counts != list(range(1, len(counts) + 1)))


def source_sha256(notebook: Any) -> str:
    """Return the hash over the code of a notebook, cell by cell, in order."""
    code = [cell.source for cell in notebook.cells if has_code(cell)]
    return hashlib.sha256(json.dumps(code, ensure_ascii=True).encode()).hexdigest()


def has_code(cell: Any) -> bool:
    """Whether the cell is one that runs."""
    return cell.cell_type == "code" and bool(cell.source.strip())


def store(notebook: Any, path: Path) -> None:
    """Replace the notebook's file, by rename."""
    import nbformat

    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        text: str = nbformat.writes(notebook)  # type: ignore[no-untyped-call]
        unfinished.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
        unfinished.chmod(path.stat().st_mode)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _folder() -> Path:
    in_checkout = REPOSITORY / "notebooks"
    return in_checkout if (REPOSITORY / "pyproject.toml").is_file() and in_checkout.is_dir() else Path("notebooks")


def _named(name: str, there: list[Path]) -> Path:
    fits = [path for path in there if name in (path.name, path.stem, path.stem.partition("_")[0])]
    if len(fits) == 1:
        return fits[0]
    if fits:
        raise UsageError(
            f"{name!r} is the name of several notebooks: {', '.join(map(str, fits))}; give the path of one"
        )
    raise MissingError(f"no notebook {name!r}; there are {', '.join(path.stem for path in there)}")


def _give_ids(cells: list[dict[str, Any]]) -> None:
    """Name the cells that have no id of their own after what they say: a position changes with every new cell."""
    kept = {cell.get("id") for cell in cells}
    seen: set[str] = set()
    for cell in cells:
        if cell.get("id") is None or cell["id"] in seen:
            digest = hashlib.sha256("".join(cell.get("source", "")).encode()).hexdigest()[:8]
            names = (f"{digest}-{number}" if number else digest for number in itertools.count())
            cell["id"] = next(name for name in names if name not in kept | seen)
        seen.add(cell["id"])
