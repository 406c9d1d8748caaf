"""notebooks/00_start_here.ipynb: its exercises as stubs, as solved, and as got wrong; and what it says of the tour."""

from __future__ import annotations

import re
from typing import Any

import pytest

import streamlab as sl
from streamlab.learn.exercises import in_notebook
from streamlab.servers import Server
from streamlab.tour import experiment as tours_experiment
from tests.learn.course import FOLDER, code, stubs

NOTEBOOK = FOLDER / "00_start_here.ipynb"
CELLS = code(NOTEBOOK)
EXERCISES = in_notebook("00")


def article(client: Any, stream: str, group: str, me: str, idle_ms: int) -> Any:
    _, rows, _ = client.xautoclaim(stream, group, me, min_idle_time=idle_ms)
    return [entry for entry, _ in rows]


def never_follows(client: Any, stream: str, group: str, me: str, idle_ms: int) -> Any:
    claimed: list[str] = []
    while True:
        cursor, rows, _ = client.xautoclaim(stream, group, me, min_idle_time=idle_ms)
        claimed += [entry for entry, _ in rows]
        if cursor == "0-0":
            return claimed


def takes_all(client: Any, stream: str, group: str, me: str, idle_ms: int) -> Any:
    rows = client.xpending_range(stream, group, "-", "+", 10_000)
    return client.xclaim(stream, group, me, 0, [row["message_id"] for row in rows], justid=True)


def says_nothing(client: Any, stream: str, group: str, me: str, idle_ms: int) -> Any:
    cursor = None
    while cursor != "0-0":
        cursor, *_ = client.xautoclaim(stream, group, me, min_idle_time=idle_ms, start_id=cursor or "0-0")


def by_asking_who_is_idle(client: Any, stream: str, group: str, me: str, idle_ms: int) -> Any:
    rows = client.xpending_range(stream, group, "-", "+", 10_000, idle=idle_ms)
    return client.xclaim(stream, group, me, idle_ms, [row["message_id"] for row in rows], justid=True)


def increments(client: Any, key: str, message: Any) -> Any:
    return client.incr(key)


def looks_then_increments(client: Any, key: str, message: Any) -> Any:
    if client.sadd(f"{key}:done", message.id):
        return client.incr(key)
    return int(client.get(key) or 0)


def with_a_hash(client: Any, key: str, message: Any) -> Any:
    client.hset(key, message.id, "done")
    return client.hlen(key)


WRONG = [
    ("00/1", 60, "60 milliseconds"),
    ("00/1", 1_700_000_000_000 - 60_000, "point in time"),
    ("00/1", 6000, "how many milliseconds"),
    ("00/1", "60000", "a number"),
    ("00/2", article, "What does XAUTOCLAIM return first"),
    ("00/2", never_follows, "no end"),
    ("00/2", takes_all, "a living worker had just read"),
    ("00/2", says_nothing, "return their IDs"),
    ("00/3", increments, "still 2 are done"),
    ("00/3", looks_then_increments, "killed after 1 command"),
    ("00/3", lambda client, key, message: 7, "after the second 2"),
]
RIGHT_TOO = [("00/1", 60_000.0), ("00/2", by_asking_who_is_idle), ("00/3", with_a_hash)]


def test_each_exercise_of_the_notebook_exists_and_the_other_way_round() -> None:
    named = re.findall(r'sl\.exercise\("([^"]+)"', "\n".join(CELLS))

    assert named == list(EXERCISES)


@pytest.mark.parametrize("name", EXERCISES)
def test_the_stub_in_the_notebook_is_no_attempt(name: str) -> None:
    assert sl.exercise(name, stubs(NOTEBOOK)[name]).state == "not attempted"


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_is_correct_on_every_server(name: str, server: Server) -> None:
    assert str(sl.exercise(name, EXERCISES[name].solution, server)) == f"{name} correct: {EXERCISES[name].why}"


@pytest.mark.parametrize(("name", "answer"), RIGHT_TOO)
def test_another_way_is_correct_too(name: str, answer: Any, any_server: Server) -> None:
    assert sl.exercise(name, answer, any_server).state == "correct"


@pytest.mark.parametrize(("name", "answer", "hint"), WRONG)
def test_a_wrong_answer_gets_a_hint(name: str, answer: Any, hint: str, any_server: Server) -> None:
    result = sl.exercise(name, answer, any_server)

    assert result.state == "not yet"
    assert hint in result.text


def test_nothing_of_an_exercise_stays_in_redis(any_server: Server) -> None:
    for name, answer, _ in WRONG:
        sl.exercise(name, answer, any_server)
    with any_server.client() as client:
        assert list(client.scan_iter(match=f"{any_server.prefix}*")) == []


def test_the_notebook_runs_the_tours_experiment() -> None:
    (cell,) = [cell for cell in CELLS if "sl.Experiment(" in cell]
    names: dict[str, Any] = {"sl": sl}
    exec(cell, names)

    assert names["experiment"] == tours_experiment()
