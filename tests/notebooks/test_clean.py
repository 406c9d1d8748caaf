"""What is stored says nothing of the machine, and is the same the next time."""

from __future__ import annotations

from typing import Any

from nbformat.v4 import new_code_cell, new_notebook, new_output

from streamlab.notebooks import clean

WIDGET = "application/vnd.jupyter.widget-view+json"


def cleaned(data: dict[str, str]) -> Any:
    """What is left of an output."""
    cell = new_code_cell("show()", execution_count=1, outputs=[new_output("display_data", data)])
    notebook = new_notebook(cells=[cell])
    clean(notebook)
    return [output.data for output in notebook.cells[0].outputs]


def test_paths_are_shortened_in_text_of_any_kind_and_nothing_else_is() -> None:
    for kind in ("text/plain", "text/html", "image/svg+xml"):
        for told, kept in (
            ("/opt/lib/x", "…/x"),
            ("see (/var/lib/redis)", "see (…/redis)"),
            ("at=/Users/me/a b", "at=…/a b"),
        ):
            assert cleaned({kind: told}) == [{kind: kept}]
    for harmless in ("1/2", "redis://…/0", "http://localhost/usr/x", "a/usr/b", "and/or", "</var>", "/", "0xff", "…/x"):
        assert cleaned({"text/plain": harmless}) == [{"text/plain": harmless}]
    picture = {"image/png": " /home/user/tmp 0x12345678"}  # base64 is made of letters and slashes
    assert cleaned(picture) == [picture]


def test_a_widget_and_what_other_programs_noted_are_dropped_and_the_rest_is_kept() -> None:
    assert cleaned({WIDGET: "{}", "text/plain": "IntProgress()"}) == []
    assert cleaned({WIDGET: "{}", "text/html": "<p>Who?</p>"}) == [{"text/html": "<p>Who?</p>"}]
    notebook = new_notebook(cells=[new_code_cell("")], metadata={"widgets": {}, "vscode": {}, "title": "Why groups?"})
    notebook.cells[0].metadata.update(execution={"iopub.status.busy": "2024-01-01"}, scrolled=True, tags=["exercise"])
    clean(notebook)
    assert notebook.cells[0].metadata == {"tags": ["exercise"]}
    assert set(notebook.metadata) == {"kernelspec", "language_info", "title"}
