"""What is stored tells nothing of the machine, and twice the same."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from streamlab.notebooks import NotebookError, execute, machine_paths
from streamlab.notebooks.outputs import normalise
from tests.notebooks.files import REPOSITORY, Write, outputs


def test_storing_twice_gives_the_same_bytes(write: Write) -> None:
    path = write("import sys", "print('out'); print('error', file=sys.stderr); object()", "print(lambda: 0)")
    execute(path, write=True)
    first = path.read_bytes()

    execute(path, write=True)

    assert path.read_bytes() == first
    assert "<object object at 0x…>" in outputs(path) or "<object at 0x…>" in outputs(path)


def test_no_path_of_this_machine_is_stored(write: Write) -> None:
    path = write(
        "import os, pathlib, sys, tempfile, streamlab",
        "print(pathlib.Path.home() / 'secret', pathlib.Path.cwd(), streamlab.__file__, sys.executable)",
        "print(tempfile.gettempdir() + '/run-1/redis.log', file=sys.stderr)",
        "pathlib.Path.cwd() / 'figure.png'",
        "from IPython.display import HTML; HTML(f\"<a href='{os.getcwd()}/x'>here</a>\")",
        "import warnings; warnings.warn('careful')",
    )

    result = execute(path, write=True)

    for told in (str(Path.home()), str(path.parent), str(REPOSITORY), sys.prefix, "ipykernel_"):
        assert told not in outputs(path)
    assert "…/secret" in outputs(path)
    assert "<a href='…/x'>" in outputs(path)
    assert not machine_paths(result.notebook)


def showing(data: dict[str, str]) -> Any:
    """A notebook whose only cell shows this, as if it had run."""
    return new_notebook(cells=[new_code_cell("show()", execution_count=1, outputs=[new_output("display_data", data)])])


def shown(notebook: Any) -> Any:
    return notebook.cells[0].outputs[0].data


@pytest.mark.parametrize("told", ["/opt/lib/x", "/home/somebody/x", "see (/var/lib/redis)", "file=/Users/me/a b"])
@pytest.mark.parametrize("kind", ["text/plain", "text/html", "image/svg+xml"])
def test_an_output_that_still_names_a_path_is_refused(kind: str, told: str) -> None:
    with pytest.raises(NotebookError, match=r"07_made_up.ipynb, cell 1: its output names '/.*print a relative path"):
        normalise(showing({kind: told}), Path("07_made_up.ipynb"), "hash")


@pytest.mark.parametrize(
    "harmless", ["1/2", "redis://…/0", "http://localhost/usr/x", "a/usr/b", "and/or", "</var>", "/", "0xff"]
)
def test_what_only_looks_like_a_path_is_kept(harmless: str) -> None:
    notebook = showing({"text/plain": harmless})

    normalise(notebook, Path("07_made_up.ipynb"), "hash")

    assert shown(notebook) == {"text/plain": harmless}


def test_pictures_are_kept_as_they_are() -> None:
    # The bytes of a picture may well spell a path: base64 is made of letters and slashes.
    notebook = showing({"image/png": " /home/user/tmp 0x12345678", "text/plain": "<Figure at 0x12345678>"})

    normalise(notebook, Path("07_made_up.ipynb"), "hash")

    assert shown(notebook) == {"image/png": " /home/user/tmp 0x12345678", "text/plain": "<Figure at 0x…>"}


def test_what_other_programs_noted_is_dropped_and_what_the_author_noted_is_kept() -> None:
    widget = "application/vnd.jupyter.widget-view+json"
    notebook = showing({widget: "{}", "text/plain": "IntProgress()"})
    notebook.metadata.update(widgets={"state": {}}, vscode={}, title="Why groups?")
    notebook.cells[0].metadata.update(execution={"iopub.status.busy": "2024-01-01"}, scrolled=True, tags=["exercise"])

    normalise(notebook, Path("07_made_up.ipynb"), "hash")

    assert notebook.cells[0].outputs == []
    assert notebook.cells[0].metadata == {"tags": ["exercise"]}
    assert set(notebook.metadata) == {"kernelspec", "language_info", "streamlab", "title"}
    assert notebook.metadata.streamlab == {"source_sha256": "hash"}


def test_a_widget_that_is_told_in_html_too_is_kept_as_that() -> None:
    told = {"text/html": "<p>Who?</p>", "text/plain": "Who?"}
    notebook = showing({"application/vnd.jupyter.widget-view+json": "{}"} | told)

    normalise(notebook, Path("07_made_up.ipynb"), "hash")

    assert shown(notebook) == told
