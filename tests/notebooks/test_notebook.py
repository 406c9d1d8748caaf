"""A notebook as a file: how it is found and read, and when its outputs are older than its code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streamlab.errors import DataError, MissingError, UsageError
from streamlab.notebooks import execute, find_notebooks, load, notebook, stale
from tests.notebooks.files import Write, edit


def test_notebooks_are_found_by_number_name_and_path(write: Write, tmp_path: Path) -> None:
    first, second = write(name="00_start_here.ipynb"), write(name="01_groups.ipynb")
    write_hidden = tmp_path / ".ipynb_checkpoints"
    write_hidden.mkdir()
    (write_hidden / "00_start_here-checkpoint.ipynb").write_text("{}")

    assert find_notebooks(folder=tmp_path) == [first, second]
    assert find_notebooks(["01", "00_start_here", "01_groups.ipynb"], folder=tmp_path) == [second, first]
    assert find_notebooks([str(first)], folder=tmp_path / "nowhere") == [first]
    assert find_notebooks([str(first), "01"], folder=tmp_path) == [first, second]


def test_an_unknown_or_ambiguous_name_says_what_there_is(write: Write, tmp_path: Path) -> None:
    write(name="00_start_here.ipynb")
    write(name="00_again.ipynb")

    with pytest.raises(MissingError, match=r"no notebook '0'; there are 00_again, 00_start_here$"):
        find_notebooks(["0"], folder=tmp_path)
    with pytest.raises(MissingError, match=r"no notebook 'lost/00_again\.ipynb'; there are"):
        find_notebooks(["lost/00_again.ipynb"], folder=tmp_path)
    with pytest.raises(UsageError, match="'00' is the name of several notebooks"):
        find_notebooks(["00"], folder=tmp_path)


def test_no_notebooks_at_all(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no notebooks in .*: run this in a checkout"):
        find_notebooks(folder=tmp_path)


def test_outside_of_a_checkout_they_are_looked_for_here(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebook, "REPOSITORY", tmp_path / "site-packages")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notebooks").mkdir()
    write(name="notebooks/00_here.ipynb")

    assert find_notebooks(["00"]) == [Path("notebooks/00_here.ipynb")]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"nbformat": 3, "worksheets": []}',
        '{"nbformat": 4, "cells": 5}',
        '{"nbformat": 4, "cells": [{}]}',
        '{"nbformat": 4, "metadata": {}, "cells": [5]}',
    ],
)
def test_a_file_that_is_no_notebook(tmp_path: Path, content: str) -> None:
    path = tmp_path / "bad.ipynb"
    path.write_text(content)

    for read in (stale, execute):
        with pytest.raises(DataError) as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_a_notebook_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no notebook .*lost\.ipynb"):
        stale(tmp_path / "lost.ipynb")


def test_editing_code_makes_it_stale_and_editing_text_does_not(write: Write) -> None:
    path = write("x = 1", "x")
    execute(path, write=True)
    executed = path.read_text()

    edit(path, lambda content: content["cells"][0].update(source="# Another question"))
    assert not stale(path)

    for change in (
        lambda content: content["cells"][1].update(source="x = 2"),
        lambda content: content["cells"].reverse(),
        lambda content: content["cells"].pop(),
        lambda content: content["cells"][2].update(execution_count=None, outputs=[]),
        lambda content: content["cells"][2].update(execution_count=7),
        lambda content: content["metadata"].pop("streamlab"),
    ):
        path.write_text(executed)
        edit(path, change)
        assert stale(path)


def test_cells_keep_their_ids_and_those_without_get_stable_ones(write: Write) -> None:
    path = write("x = 1", "x = 1", "x", "x")

    def forget(content: Any) -> None:
        content["nbformat_minor"] = 4
        for cell in content["cells"][1:4]:
            del cell["id"]
        content["cells"][4]["id"] = "heading"

    edit(path, forget)
    ids = [cell.id for cell in load(path).cells]
    edit(path, lambda content: content["cells"].insert(1, {"cell_type": "markdown", "metadata": {}, "source": "new"}))

    assert ids[0] == "heading"
    assert len(set(ids)) == 5
    again = [cell.id for cell in load(path).cells]
    assert again[:1] + again[2:] == ids
