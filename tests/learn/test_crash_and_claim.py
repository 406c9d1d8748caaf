"""notebooks/03_crash_and_claim.ipynb: its exercises as solved on every server, and as got wrong."""

from __future__ import annotations

from typing import Any

import pytest

import streamlab as sl
from streamlab.learn.exercises import in_notebook
from streamlab.servers import Server

EXERCISES = in_notebook("03")


def by_summary(client: Any, stream: str, group: str, idle_ms: int) -> Any:
    return {row["name"]: row["pending"] for row in client.xpending(stream, group)["consumers"]}


def one_page(client: Any, stream: str, group: str, idle_ms: int) -> Any:
    rows = client.xpending_range(stream, group, "-", "+", 1000, idle=idle_ms)
    return {name: [row["consumer"] for row in rows].count(name) for name in ("ann", "ben")}


def by_claiming(client: Any, stream: str, group: str, idle_ms: int) -> Any:
    return len(client.xautoclaim(stream, group, "me", idle_ms, justid=True))


def all_mine(client: Any, stream: str, group: str, me: str) -> Any:
    return client.xreadgroup(group, me, {stream: "0"})[0][1]


def forgets_the_deleted(client: Any, stream: str, group: str, me: str) -> Any:
    return [row for row in all_mine(client, stream, group, me) if row[1]]


def acks_all(client: Any, stream: str, group: str, me: str) -> Any:
    rows = all_mine(client, stream, group, me)
    client.xack(stream, group, *[entry for entry, _ in rows])
    return [row for row in rows if row[1]]


def reads_new(client: Any, stream: str, group: str, me: str) -> Any:
    return client.xreadgroup(group, me, {stream: ">"})[0][1]


def deletes(client: Any, stream: str, group: str, consumer: str) -> Any:
    return client.xgroup_delconsumer(stream, group, consumer) == 0


def looks_then_deletes(client: Any, stream: str, group: str, consumer: str) -> Any:
    if client.xpending_range(stream, group, "-", "+", 1, consumer):
        return False
    client.xgroup_delconsumer(stream, group, consumer)
    return True


WRONG = [
    ("03/1", by_summary, "the long form does"),
    ("03/1", one_page, "how does the next page begin"),
    ("03/1", by_claiming, "an alarm only looks"),
    ("03/2", all_mine, "no fields"),
    ("03/2", forgets_the_deleted, "pending still"),
    ("03/2", acks_all, "nobody has done their work"),
    ("03/2", reads_new, "it read new entries"),
    ("03/3", deletes, "nobody will ever get them"),
    ("03/3", looks_then_deletes, "both must be one step"),
    ("03/3", lambda client, stream, group, consumer: False, "still there"),
]


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_is_correct_on_every_server(name: str, server: Server) -> None:
    assert str(sl.exercise(name, EXERCISES[name].solution, server)) == f"{name} correct: {EXERCISES[name].why}"


@pytest.mark.parametrize(("name", "answer", "hint"), WRONG)
def test_a_wrong_answer_gets_a_hint(name: str, answer: Any, hint: str, any_server: Server) -> None:
    result = sl.exercise(name, answer, any_server)

    assert result.state == "not yet"
    assert hint in result.text
