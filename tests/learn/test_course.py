"""The exercises of the notebooks, as left to the reader, as solved and as got wrong; and how a state shows itself."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import streamlab as sl
from streamlab.errors import UsageError
from streamlab.learn.exercises import Result, in_notebook, is_stub
from streamlab.notebooks import load
from streamlab.servers import Server
from streamlab.tour import experiment as tours_experiment
from tests.at_hand import keys_of
from tests.learn.answers import RIGHT_TOO, WRONG

COURSE = sorted((Path(__file__).parents[2] / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def stubs(path: Path) -> dict[str, Any]:
    """The answers as they stand in a notebook, by exercise."""
    answers: dict[str, Any] = {}
    fake = SimpleNamespace(exercise=lambda name, answer, server=None: answers.setdefault(name, answer))
    for cell in load(path).cells:
        if cell.cell_type == "code" and "sl.exercise(" in cell.source:
            exec(cell.source, {"sl": fake, "lab": SimpleNamespace(server=None)})
    return answers


@pytest.mark.parametrize("path", COURSE, ids=lambda path: path.stem)
def test_its_exercises_tell_the_right_answers_from_the_wrong_ones(path: Path, any_server: Server) -> None:
    exercises, left = in_notebook(path.name[:2]), stubs(path)
    assert list(left) == list(exercises)
    for name, exercise in exercises.items():
        assert sl.exercise(name, left[name], any_server).state == "not attempted"
        for answer in [exercise.solution, *(answer for other, answer in RIGHT_TOO if other == name)]:
            assert str(sl.exercise(name, answer, any_server)) == f"{name} correct: {exercise.why}"
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


def test_notebooks_lead_to_notebooks_that_exist() -> None:
    for path in COURSE:
        text = "\n".join(cell.source for cell in load(path).cells if cell.cell_type == "markdown")
        assert set(re.findall(r"\]\(([^)]+\.ipynb)", text)) <= {other.name for other in COURSE}


def test_the_first_notebook_runs_the_tours_experiment() -> None:
    (cell,) = [cell.source for cell in load(COURSE[0]).cells if cell.source.startswith("experiment = ")]
    names: dict[str, Any] = {"sl": sl}
    exec(cell, names)
    assert names["experiment"] == tours_experiment()


def stub_with_docstring(client: Any, key: str) -> int:  # type: ignore[empty-body]
    """Do it."""
    ...


def returns_ellipsis() -> Any:
    # not yet
    return ...


def test_a_stub_is_no_attempt_and_anything_else_is_one() -> None:
    assert all(map(is_stub, (..., stub_with_docstring, returns_ellipsis, lambda: ...)))
    assert not any(map(is_stub, (0, None, "", len, lambda: 0, lambda x: x, stub_with_docstring.__call__)))


def test_an_answer_shows_how_it_stands_and_a_solution_its_source_or_its_value() -> None:
    assert str(sl.exercise("00/1", ...)) == "00/1 not attempted"
    assert "not yet</b>: a &lt; b" in Result("00/1", "not yet", "a < b")._repr_html_()
    assert sl.solution("00/1") == "60000"
    assert sl.solution("00/2").startswith("def take_over(")


def test_what_makes_no_sense_is_told() -> None:
    for name in ("00/9", "00", "99/1", ""):
        for ask in (lambda name=name: sl.exercise(name, ...), lambda name=name: sl.solution(name)):
            with pytest.raises(UsageError, match=r"no exercise .*; there are 00/1"):
                ask()
    with pytest.raises(UsageError, match=r"needs a Redis: .*lab\.server"):
        sl.exercise("00/2", len)
