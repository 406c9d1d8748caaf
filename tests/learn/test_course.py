"""What all notebooks of the course have in common. Whether they run: test_course_everywhere.py."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import streamlab as sl
from streamlab.learn.exercises import in_notebook
from streamlab.notebooks import load, machine_paths
from streamlab.servers import Server
from tests.learn.course import ALL, stubs

NOTEBOOKS = [path for path in ALL if not path.name.startswith("00")]  # 00 is older, and asks in its own way
LARGEST_PICTURE = 100_000


def broken_rules(notebook: Any, number: str) -> list[str]:
    """Each rule of the course that a notebook breaks, in words."""
    cells = notebook.cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    title, *_ = cells[0].source.splitlines()
    exercises = re.findall(r'sl\.exercise\("([^"]+)"', "\n".join(code))
    pictures = [
        len(output["data"]["image/png"]) * 3 / 4
        for cell in cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    ]
    rules = {
        "its title is a question": title.startswith("# ") and title.endswith("?"),
        f"it has 25 to 55 cells: {len(cells)}": 25 <= len(cells) <= 55,
        "no cell has more than 20 lines of code": max(len(source.splitlines()) for source in code) <= 20,
        f"it has three exercises of its own, each once: {exercises}": len(exercises) >= 3
        and exercises == list(in_notebook(number)),
        "it has two or three interview questions": text.count("<details>") in (2, 3)
        and text.count("</details>") == text.count("<details>"),
        "it ends in three lines": len(re.findall(r"^- ", text.partition("## In three lines")[2], re.MULTILINE)) == 3,
        "it says what is next": bool(re.search(r"^Next: ", text.partition("## In three lines")[2], re.MULTILINE)),
        "it says how long it runs": bool(re.search(r"run\s+for\s+about\s+\d+\s+s\b", cells[0].source)),
        "it links to official pages": "](https://redis.io/docs/" in text,
        "its pictures have at most 100 KB": max(pictures, default=0) <= LARGEST_PICTURE,
        "it has pictures": bool(pictures),
        "it shows no error": not [o for cell in cells for o in cell.get("outputs", ()) if o.output_type == "error"],
        "it names no path of a machine": not machine_paths(notebook),
        **_of_predictions(cells, number),
    }
    return [rule for rule, kept in rules.items() if not kept]


def _of_predictions(cells: list[Any], number: str) -> dict[str, bool]:
    """Each prediction is asked, shown, and only then, in a later cell, held against what came out."""
    names: list[str] = []
    open_: dict[str, int] = {}  # the cell of each prediction without an outcome yet, by its variable
    in_order = shown = True
    first_asked = first_tried = len(cells)
    for place, cell in enumerate(cells):
        nodes = list(ast.walk(ast.parse(cell.source))) if cell.cell_type == "code" else []
        for node in nodes:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and _called(node.value) == "predict":
                names.append(ast.literal_eval(node.value.args[0]))
                variable = ast.unparse(node.targets[0])
                in_order &= variable not in open_
                open_[variable] = place
                first_asked = min(first_asked, place)
                shown &= any("text/html" in output.get("data", {}) for output in cell.outputs)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _called(node) == "outcome":
                in_order &= open_.pop(ast.unparse(node.func.value), place) < place
        if any(_called(node) in ("run", "outcome") for node in nodes):
            first_tried = min(first_tried, place)
    return {
        "it has three predictions": len(names) >= 3,
        f"predictions are named {number}/...: {names}": all(name.startswith(f"{number}/") for name in names)
        and len(set(names)) == len(names),
        "it asks for a prediction early, before its first experiment": first_asked < first_tried
        and sum(cell.cell_type == "code" for cell in cells[:first_asked]) <= 2,
        "each prediction has its outcome, in a later cell": in_order and not open_,
        "predictions are there without widgets: streamlab notebooks --write": shown,
    }


def _called(node: ast.AST) -> str:
    return node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_keeps_the_rules(path: Path) -> None:
    assert broken_rules(load(path), path.name[:2]) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_exercises_can_be_done_and_are_not_done_yet(path: Path, any_server: Server) -> None:
    left = stubs(path)
    for name, exercise in in_notebook(path.name[:2]).items():
        assert sl.exercise(name, left[name], any_server).state == "not attempted"
        assert str(sl.exercise(name, exercise.solution, any_server)) == f"{name} correct: {exercise.why}"


def test_links_between_notebooks_lead_somewhere() -> None:
    there = {path.name for path in ALL}
    for path in ALL:
        led = re.findall(r"\]\(([^)]+\.ipynb)", "".join(c.source for c in load(path).cells))
        assert set(led) <= there, path.name


# The rules themselves


def made() -> Any:
    """A notebook that keeps all rules; it borrows the exercises of 00."""
    asks = new_code_cell('guess = sl.predict("00/who", "Who?", a="Ann", b="Ben")\nguess')
    asks.outputs = [new_output("display_data", {"text/html": "Who?"})]
    tried = new_code_cell("client.xadd(stream, {})\nguess.outcome('a')")
    tried.outputs = [new_output("display_data", {"image/png": "A" * 400})]
    head = "# Who?\n\nAll cells together run for about 5 s. [XADD](https://redis.io/docs/latest/commands/xadd/)"
    end = "<details>1</details><details>2</details>\n\n## In three lines\n\n- a\n- b\n- c\n\nNext: 01."
    answers = [new_code_cell(f'sl.exercise("00/{n}", ...)') for n in (1, 2, 3)]
    more = [new_code_cell(asks.source.replace("who", name), outputs=asks.outputs) for name in ("when", "why")]
    turns = [asks, tried, more[0], new_code_cell(tried.source), more[1], new_code_cell(tried.source)]
    filling = [new_markdown_cell("So.") for _ in range(20)]
    return new_notebook(cells=[new_markdown_cell(head), *turns, *filling, *answers, new_markdown_cell(end)])


def test_a_notebook_that_keeps_the_rules_breaks_none() -> None:
    assert broken_rules(made(), "00") == []


@pytest.mark.parametrize(
    ("place", "old", "new", "rule"),
    [
        (0, "Who?", "Who.", "its title is a question"),
        (0, "about 5 s", "a while", "how long"),
        (0, "redis.io", "example.com", "official pages"),
        (1, "00/who", "01/who", "predictions are named"),
        (1, "sl.predict", "sl.Predict", "a prediction early"),
        (2, "outcome", "other", "each prediction has its outcome"),
        (3, "sl.predict", "guess.outcome('a') or sl.predict", "each prediction has its outcome"),
        (4, "guess.outcome", "else_.outcome", "each prediction has its outcome"),
        (2, "client.xadd", "\n" * 20 + "client.xadd", "20 lines"),
        (-2, "00/3", "00/2", "three exercises"),
        (-1, "<details>2</details>", "", "interview"),
        (-1, "- c\n", "", "three lines"),
        (-1, "Next: ", "", "what is next"),
    ],
)
def test_a_rule_that_is_broken_is_told(place: int, old: str, new: str, rule: str) -> None:
    notebook = made()
    assert old in notebook.cells[place].source
    notebook.cells[place].source = notebook.cells[place].source.replace(old, new)

    assert rule in " ".join(broken_rules(notebook, "00"))


def test_outputs_that_break_a_rule_are_told() -> None:
    notebook = made()
    notebook.cells[1].outputs = [new_output("error", ename="E", evalue="", traceback=[])]
    notebook.cells[2].outputs = [new_output("display_data", {"image/png": "A" * 140_000, "text/plain": "/home/me/x"})]

    broken = " ".join(broken_rules(notebook, "00"))
    for rule in ("without widgets", "100 KB", "no error", "no path"):
        assert rule in broken
