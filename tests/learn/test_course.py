"""The notebooks of the course: their exercises, as left to the reader, as solved and as got wrong; and their shape."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

import streamlab as sl
from streamlab.learn.exercises import in_notebook
from streamlab.notebooks import load
from streamlab.servers import Server
from streamlab.tour import experiment as tours_experiment
from tests.at_hand import keys_of
from tests.learn.answers import RIGHT_TOO, WRONG
from tests.learn.course import ALL, code, stubs


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_its_exercises_tell_the_right_answers_from_the_wrong_ones(path: Path, any_server: Server) -> None:
    exercises, left = in_notebook(path.name[:2]), stubs(path)
    assert list(left) == list(exercises)
    for name, exercise in exercises.items():
        assert sl.exercise(name, left[name], any_server).state == "not attempted"
        right = [exercise.solution, *(answer for other, answer in RIGHT_TOO if other == name)]
        assert {str(sl.exercise(name, answer, any_server)) for answer in right} == {f"{name} correct: {exercise.why}"}
        wrong = [(answer, hint) for other, answer, hint in WRONG if other == name]
        assert wrong
        for answer, hint in wrong:
            result = sl.exercise(name, answer, any_server)
            assert (result.state, hint in result.text) == ("not yet", True), f"{name}: {hint!r} not in {result}"
    with any_server.client() as client:
        assert keys_of(client, any_server.prefix) == []


def test_solutions_are_correct_where_servers_differ(server: Server) -> None:
    for name in ("00/2", "02/2", "03/2"):  # the replies of XAUTOCLAIM, XINFO GROUPS and an own read of deleted entries
        assert sl.exercise(name, in_notebook(name[:2])[name].solution, server).state == "correct"


@pytest.mark.parametrize("path", ALL[1:], ids=lambda path: path.stem)  # 00 is older, and asks in its own way
def test_it_is_built_as_the_course_is(path: Path) -> None:
    cells = load(path).cells
    sources = [cell.source for cell in cells if cell.cell_type == "code"]
    text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")

    assert text.startswith("# ")
    assert text.splitlines()[0].endswith("?")
    assert 25 <= len(cells) <= 55
    assert max(len(source.splitlines()) for source in sources) <= 20
    assert text.count("<details>") == text.count("</details>") in (2, 3), "interview questions"
    assert len(re.findall(r"^- ", text.partition("## In three lines")[2], re.MULTILINE)) == 3
    assert any("image/png" in output.get("data", {}) for cell in cells for output in cell.get("outputs", ()))
    there = {notebook.name for notebook in ALL}
    assert set(re.findall(r"\]\(([^)]+\.ipynb)", text)) <= there
    assert_predictions(cells, path.name[:2])


def assert_predictions(cells: list[Any], number: str) -> None:
    """Each prediction is asked before its outcome is told in a later cell, and shown without widgets."""
    names: list[str] = []
    open_: dict[str, int] = {}  # the cell of each prediction without an outcome yet, by its variable
    for place, cell in enumerate(cells):
        for node in ast.walk(ast.parse(cell.source)) if cell.cell_type == "code" else ():
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and called(node.value) == "predict":
                names.append(ast.literal_eval(node.value.args[0]))
                variable = ast.unparse(node.targets[0])
                assert variable not in open_, f"{variable}: no outcome before the next prediction"
                open_[variable] = place
                assert any("text/html" in output.get("data", {}) for output in cell.outputs), names[-1]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and called(node) == "outcome":
                assert open_.pop(ast.unparse(node.func.value)) < place
    assert not open_, "without an outcome"
    assert len(set(names)) == len(names) >= 3
    assert all(name.startswith(f"{number}/") for name in names)


def called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""


def test_the_first_notebook_runs_the_tours_experiment() -> None:
    (cell,) = [cell for cell in code(ALL[0]) if "sl.Experiment(" in cell]
    names: dict[str, Any] = {"sl": sl}
    exec(cell, names)

    assert names["experiment"] == tours_experiment()
