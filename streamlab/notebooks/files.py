"""A notebook as a file: found by its name, read, and compared with the outputs that are stored in it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from streamlab.errors import DataError, MissingError

CHECKOUT = Path(__file__).resolve().parents[2] / "notebooks"
IN_WHEEL = Path(__file__).parent / "course"  # a checkout has no such folder
COPY = Path("streamlab-notebooks")


def find_notebooks(names: Sequence[str] = (), *, folder: Path | None = None) -> list[Path]:
    """Return the notebooks of these names, in this order; all of them, sorted, for no name.

    A name is a path, or the beginning of a file's name: `00` or `00_start_here`. Without `folder` they are those of
    the checkout that this package is in, else of ./streamlab-notebooks. Raises `MissingError` with what there is.
    """
    found = [
        path for name in names or [""] for path in _named(name, folder or (CHECKOUT if CHECKOUT.is_dir() else COPY))
    ]
    return list(dict.fromkeys(found))


def _named(name: str, folder: Path) -> list[Path]:
    if name.endswith(".ipynb") and Path(name).is_file():
        return [Path(name)]
    there = sorted(path for path in folder.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
    if not there:
        raise MissingError(f"no notebooks in {folder}: streamlab lab copies them there, or give a notebook's path")
    if not (fits := [path for path in there if path.name.startswith(name)]):
        raise MissingError(f"no notebook {name!r}; there are {', '.join(path.stem for path in there)}")
    return fits


def copy_course() -> Path | None:
    """Copy the notebooks of an installed wheel to ./streamlab-notebooks and return that folder; None in a checkout.

    A file that is there already is left as it is.
    """
    if CHECKOUT.is_dir() or not IN_WHEEL.is_dir():
        return None

    def kept(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if (COPY / Path(folder).relative_to(IN_WHEEL) / name).is_file()]

    return Path(shutil.copytree(IN_WHEEL, COPY, ignore=kept, dirs_exist_ok=True)).resolve()


def load(path: Path) -> Any:
    """Return nbformat's notebook. Raises `MissingError`, and `DataError` for a file that is not a notebook."""
    import nbformat

    try:
        notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
        nbformat.validate(notebook)
    except FileNotFoundError:
        raise MissingError(f"no notebook {path}: check the path") from None
    except Exception as error:  # nbformat raises whatever the damage leads to
        said = str(error).partition("\n")[0]
        raise DataError(f"{path} cannot be read as a notebook ({said}): open it in JupyterLab and save it") from None
    return notebook


def stale(path: Path) -> bool:
    """Whether the outputs in a notebook are not those of one clean execution of the code that it has now."""
    notebook = load(path)
    counts = [cell.execution_count for cell in code_cells(notebook)]
    stored = notebook.metadata.get("streamlab", {}).get("source_sha256")
    return bool(stored != source_sha256(notebook) or counts != list(range(1, len(counts) + 1)))


def source_sha256(notebook: Any) -> str:
    """Return the hash of a notebook's code; its text may be edited freely, because only code makes outputs."""
    return hashlib.sha256(json.dumps([cell.source for cell in code_cells(notebook)]).encode()).hexdigest()


def code_cells(notebook: Any) -> list[Any]:
    """Return the cells that run, in order."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
