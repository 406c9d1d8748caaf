"""notebooks/06_latency_and_backlog.ipynb: its exercises as solved on every server, and as got wrong."""

from __future__ import annotations

import math
from typing import Any

import pytest

import streamlab as sl
from streamlab.learn.exercises import in_notebook
from streamlab.servers import Server

EXERCISES = in_notebook("06")


def nearest(took: list[float]) -> float:
    return sorted(took)[math.ceil(0.99 * len(took)) - 1]


def from_sent(jobs: Any) -> float:
    return nearest([done - sent for _, sent, done in jobs if done is not None])


def forgets_the_missing(jobs: Any) -> float:
    return nearest([done - due for due, _, done in jobs if done is not None])


def backlog_only(rate: float, seconds: float, backlog: float, within: float) -> int:
    return math.ceil(backlog / within * seconds)


def no_air(rate: float, seconds: float, backlog: float, within: float) -> int:
    return math.ceil((rate + backlog / within) * seconds)


def by_number(client: Any, stream: str) -> Any:
    return client.xtrim(stream, maxlen=20, approximate=False)


def by_cursor(client: Any, stream: str) -> Any:
    oldest = min(group["last-delivered-id"] for group in client.xinfo_groups(stream))
    return client.xtrim(stream, minid=oldest, approximate=False)


def what_is_pending(client: Any, stream: str) -> Any:
    pending = [client.xpending(stream, group["name"])["min"] for group in client.xinfo_groups(stream)]
    return client.xtrim(stream, minid=min(filter(None, pending), default="99-0"), approximate=False)


def says_nothing(client: Any, stream: str) -> None:
    EXERCISES["06/3"].solution(client, stream)


WRONG = [
    ("06/1", from_sent, "since it was sent"),
    ("06/1", forgets_the_missing, "never came"),
    ("06/1", lambda jobs: math.inf, "a standstill"),
    ("06/2", backlog_only, "if nothing else comes"),
    ("06/2", no_air, "busy"),
    ("06/2", lambda rate, seconds, backlog, within: (rate + backlog / within) * seconds + 0.5, "part of a worker"),
    ("06/3", by_number, "still needed are gone"),
    ("06/3", by_cursor, "still needed are gone"),
    ("06/3", what_is_pending, "group `slow`"),
    ("06/3", says_nothing, "it returned None"),
    ("06/3", lambda client, stream: 0, "nobody needs"),
]


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_is_correct_on_every_server(name: str, server: Server) -> None:
    assert str(sl.exercise(name, EXERCISES[name].solution, server)) == f"{name} correct: {EXERCISES[name].why}"


@pytest.mark.parametrize(("name", "answer", "hint"), WRONG)
def test_a_wrong_answer_gets_a_hint(name: str, answer: Any, hint: str, any_server: Server) -> None:
    result = sl.exercise(name, answer, any_server)

    assert result.state == "not yet"
    assert hint in result.text
