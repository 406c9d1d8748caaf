"""notebooks/02_consumer_groups.ipynb: its exercises as solved on every server, and as got wrong."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from redis.exceptions import ResponseError

import streamlab as sl
from streamlab.learn.exercises import in_notebook
from streamlab.servers import Server

EXERCISES = in_notebook("02")


def creates(**options: Any) -> Any:
    return lambda client, stream, group: client.xgroup_create(stream, group, **options)


def passes_over(client: Any, stream: str, group: str, start: str = "0") -> None:
    with suppress(ResponseError):
        client.xgroup_create(stream, group, id=start, mkstream=True)


def makes_anew(client: Any, stream: str, group: str) -> None:
    if client.exists(stream):
        client.xgroup_destroy(stream, group)
    client.xgroup_create(stream, group, id="0", mkstream=True)


def moves_back(client: Any, stream: str, group: str) -> None:
    passes_over(client, stream, group)
    client.xgroup_setid(stream, group, "0")


def group_of(client: Any, stream: str, group: str) -> Any:
    return next(row for row in client.xinfo_groups(stream) if row["name"] == group)


def null_is_zero(client: Any, stream: str, group: str) -> Any:
    return group_of(client, stream, group)["pending"] + (group_of(client, stream, group)["lag"] or 0)


def by_reading(client: Any, stream: str, group: str) -> Any:
    client.xreadgroup(group, "dashboard", {stream: ">"})
    return group_of(client, stream, group)["pending"]


def always_counted(client: Any, stream: str, group: str) -> Any:
    row = group_of(client, stream, group)
    return row["pending"] + len(client.xrange(stream, min="(" + row["last-delivered-id"]))


WRONG = [
    ("02/1", creates(id="0"), "MKSTREAM"),
    ("02/1", creates(id="0", mkstream=True), "BUSYGROUP"),
    ("02/1", lambda *names: passes_over(*names, start="$"), "the group misses them"),
    ("02/1", passes_over, "the key held a text"),
    ("02/1", makes_anew, "it was remade"),
    ("02/1", moves_back, "moved the group's cursor"),
    ("02/1", lambda *names: print(end=""), "there is no group"),
    ("02/2", lambda client, stream, group: client.xlen(stream), "XACK deletes nothing"),
    ("02/2", lambda *names: group_of(*names)["lag"], "not delivered yet"),
    ("02/2", lambda *names: group_of(*names)["lag"] + group_of(*names)["pending"], "TypeError"),
    ("02/2", null_is_zero, "null is not zero"),
    ("02/2", by_reading, "a group's cursor"),
    ("02/3", lambda customer, parts: hash(customer) % parts, "in another process"),
    ("02/3", lambda customer, parts: len(customer) % parts, "are used"),
    ("02/3", lambda customer, parts: sum(customer.encode()), "from 0 to 7"),
]


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_is_correct_on_every_server(name: str, server: Server) -> None:
    assert str(sl.exercise(name, EXERCISES[name].solution, server)) == f"{name} correct: {EXERCISES[name].why}"


def test_counting_always_is_correct_too(any_server: Server) -> None:
    assert sl.exercise("02/2", always_counted, any_server).state == "correct"


@pytest.mark.parametrize(("name", "answer", "hint"), WRONG)
def test_a_wrong_answer_gets_a_hint(name: str, answer: Any, hint: str, any_server: Server) -> None:
    result = sl.exercise(name, answer, any_server)

    assert result.state == "not yet"
    assert hint in result.text
