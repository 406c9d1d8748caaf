"""Notebooks as files: found, read, stale or not; and those of this repository."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from streamlab.errors import DataError, MissingError
from streamlab.notebooks import clean, execute, find_notebooks, load, stale
from tests.notebooks.files import REPOSITORY, Write, edit

COMMITTED = find_notebooks(folder=REPOSITORY / "notebooks")
LARGEST_PICTURE = 100_000


def test_notebooks_are_found_by_number_name_and_path(write: Write, tmp_path: Path) -> None:
    first, second = write(name="00_start_here.ipynb"), write(name="01_groups.ipynb")
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / ".ipynb_checkpoints" / "00_start_here-checkpoint.ipynb").write_text("{}")

    assert find_notebooks(folder=tmp_path) == [first, second]
    assert find_notebooks(["01", "00_start_here", "01_groups.ipynb"], folder=tmp_path) == [second, first]
    assert find_notebooks([str(first)], folder=tmp_path / "nowhere") == [first]
    assert find_notebooks([str(first), "01"], folder=tmp_path) == [first, second]


def test_what_is_missing_or_damaged_is_told_in_one_line(write: Write, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no notebooks in .*: streamlab lab copies them"):
        find_notebooks(folder=tmp_path)
    write(name="00_again.ipynb")
    for name in ("99", "lost/00_again.ipynb"):
        with pytest.raises(MissingError, match=rf"no notebook '{name}'; there are 00_again$"):
            find_notebooks([name], folder=tmp_path)
    with pytest.raises(MissingError, match=r"no notebook .*lost\.ipynb"):
        stale(tmp_path / "lost.ipynb")
    bad = tmp_path / "bad.ipynb"
    for content in ("", "{", "[]", '{"nbformat": 4, "cells": 5}', '{"nbformat": 4, "metadata": {}, "cells": [5]}'):
        bad.write_text(content)
        for read in (stale, execute):
            with pytest.raises(DataError, match=r"bad\.ipynb cannot be read as a notebook") as caught:
                read(bad)
            assert "\n" not in str(caught.value)


def test_editing_code_makes_it_stale_and_editing_text_does_not(write: Write) -> None:
    path = write("x = 1", "x")
    assert stale(path)
    execute(path, write=True)
    executed = path.read_text()

    edit(path, lambda content: content["cells"][0].update(source="# Another question"))
    assert not stale(path)

    changes: list[Any] = [
        lambda content: content["cells"][1].update(source="x = 2"),
        lambda content: content["cells"].reverse(),
        lambda content: content["cells"].pop(),
        lambda content: content["cells"][2].update(execution_count=None, outputs=[]),
        lambda content: content["cells"][2].update(execution_count=7),
        lambda content: content["metadata"].pop("streamlab"),
    ]
    for change in changes:
        path.write_text(executed)
        edit(path, change)
        assert stale(path)


def test_those_of_this_repository_are_one_clean_execution_of_their_code() -> None:
    for path in COMMITTED:
        assert not stale(path), f"outputs older than sources: streamlab notebooks --write {path.stem}"
        notebook = load(path)
        cleaned = copy.deepcopy(notebook)
        clean(cleaned)
        assert cleaned == notebook, f"{path.name}: not stored by streamlab notebooks --write"
        for cell in notebook.cells:
            for output in cell.get("outputs", ()):
                meant = "raises-exception" in cell.metadata.get("tags", ())
                assert output.output_type != "error" or meant, f"{path.name} shows an error"
                picture = len(output.get("data", {}).get("image/png", "")) * 3 / 4
                assert picture <= LARGEST_PICTURE, f"{path.name}: {picture:,.0f} bytes"


def test_streamlab_lab_copies_the_notebooks_of_a_wheel(tmp_path: Path) -> None:
    def run(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, check=False, **options)

    built = run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, REPOSITORY, cwd=tmp_path)
    if built.returncode and os.environ.get("CI") != "true":
        pytest.skip(f"no wheel can be built here: {built.stderr.strip().splitlines()[-1]}")
    (wheel,) = tmp_path.glob("*.whl")
    run(sys.executable, "-m", "zipfile", "-e", wheel, tmp_path / "site")
    mine = tmp_path / "streamlab-notebooks" / "00_start_here.ipynb"
    mine.parent.mkdir()
    mine.write_text("{}")
    command = [sys.executable, "-c", "from streamlab.cli import main; main()", "lab", "--version"]
    opened = run(*command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path / "site")})

    assert opened.returncode == 0
    assert f"the notebooks are in {mine.parent}" in opened.stderr
    assert {path.name for path in mine.parent.glob("*.ipynb")} == {path.name for path in COMMITTED}
    assert mine.read_text() == "{}", "what a reader has changed is kept"
