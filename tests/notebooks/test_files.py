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
from tests.notebooks.files import REPOSITORY, edit, written


def test_notebooks_are_found_by_number_name_and_path_and_what_is_missing_or_damaged_is_told(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no notebooks in .*: streamlab lab copies them"):
        find_notebooks(folder=tmp_path)
    first, second = (written(tmp_path, name=name) for name in ("00_start_here.ipynb", "01_groups.ipynb"))
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / ".ipynb_checkpoints" / "00_start_here-checkpoint.ipynb").write_text("{}")
    assert find_notebooks(folder=tmp_path) == [first, second]
    assert find_notebooks(["01", "00_start_here", "01_groups.ipynb"], folder=tmp_path) == [second, first]
    assert find_notebooks([str(first), "01"], folder=tmp_path) == [first, second]
    for name in ("99", "lost/00_start_here.ipynb"):
        with pytest.raises(MissingError, match=rf"no notebook '{name}'; there are 00_start_here, 01_groups$"):
            find_notebooks([name], folder=tmp_path)

    for content in ("", "[]", '{"nbformat": 4, "metadata": {}, "cells": [5]}'):
        first.write_text(content)
        with pytest.raises(DataError, match=r"00_start_here\.ipynb cannot be read as a notebook") as caught:
            load(first)
        assert "\n" not in str(caught.value)


def test_editing_code_makes_it_stale_and_editing_text_does_not(tmp_path: Path) -> None:
    path = written(tmp_path, "x = 1", "x")
    assert stale(path)
    execute(path, write=True)
    executed = path.read_text()

    edit(path, lambda content: content["cells"][0].update(source="# Another question"))
    assert not stale(path)

    changes: list[Any] = [
        lambda content: content["cells"][1].update(source="x = 2"),
        lambda content: content["cells"].reverse(),
        lambda content: content["cells"][2].update(execution_count=7),
        lambda content: content["metadata"].pop("streamlab"),
    ]
    for change in changes:
        path.write_text(executed)
        edit(path, change)
        assert stale(path)


def test_those_of_this_repository_are_one_clean_execution_of_their_code() -> None:
    for path in find_notebooks(folder=REPOSITORY / "notebooks"):
        assert not stale(path), f"outputs older than sources: streamlab notebooks --write {path.stem}"
        notebook = load(path)
        cleaned = copy.deepcopy(notebook)
        clean(cleaned)
        assert cleaned == notebook, f"{path.name}: not stored by streamlab notebooks --write"


@pytest.mark.soak
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
    there = {path.name for path in (REPOSITORY / "notebooks").glob("*.ipynb")}
    assert {path.name for path in mine.parent.glob("*.ipynb")} == there
    assert mine.read_text() == "{}", "what a reader has changed is kept"
