"""notebooks/04_retries_and_dead_letters.ipynb: its exercises as solved on every server, and as got wrong."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

import streamlab as sl
from streamlab.learn.exercises import in_notebook
from streamlab.servers import Server

EXERCISES = in_notebook("04")


def letter_first(client: Any, stream: str, group: str, me: str, entry: str) -> Any:
    if not client.xpending_range(stream, group, entry, entry, 1, me):
        return None
    letter = client.xadd(stream + ":dead", {"id": entry, **client.xrange(stream, entry, entry)[0][1]})
    client.xack(stream, group, entry)
    return letter


def ack_first(client: Any, stream: str, group: str, me: str, entry: str) -> Any:
    if not client.xack(stream, group, entry):
        return None
    return client.xadd(stream + ":dead", {"id": entry, **client.xrange(stream, entry, entry)[0][1]})


def asks_before_multi(client: Any, stream: str, group: str, me: str, entry: str) -> Any:
    if not client.xpending_range(stream, group, entry, entry, 1, me):
        return None
    with client.pipeline(transaction=True) as both:
        both.xadd(stream + ":dead", {"id": entry, **client.xrange(stream, entry, entry)[0][1]})
        both.xack(stream, group, entry)
        return both.execute()[0]


def back(client: Any, dead: str, stream: str, letter: str, both: Any) -> Any:
    found = client.xrange(dead, letter, letter)
    times = int(found[0][1].get("redriven", 0)) if found else 2
    if times >= 2:
        return None
    added = both.xadd(stream, found[0][1] | {"redriven": times + 1})
    both.xdel(dead, letter)
    return added


def in_a_pipeline(client: Any, dead: str, stream: str, letter: str) -> Any:
    with client.pipeline(transaction=False) as both:
        back(client, dead, stream, letter, both)
        return (both.execute() or [None])[0]


def in_multi(client: Any, dead: str, stream: str, letter: str) -> Any:
    with client.pipeline(transaction=True) as both:
        back(client, dead, stream, letter, both)
        return (both.execute() or [None])[0]


def watched(client: Any, dead: str, stream: str, letter: str) -> Any:
    def both(pipe: Any) -> None:
        found = pipe.xrange(dead, letter, letter)
        pipe.multi()
        back(SimpleNamespace(xrange=lambda *_: found), dead, stream, letter, pipe)

    return (client.transaction(both, dead) or [None])[0]


def for_ever(client: Any, dead: str, stream: str, letter: str) -> Any:
    if not (found := client.xrange(dead, letter, letter)):
        return None
    client.xdel(dead, letter)
    return client.xadd(stream, found[0][1] | {"redriven": int(found[0][1].get("redriven", 0)) + 1})


WRONG = [
    ("04/1", lambda error, deliveries: min(2 ** (deliveries - 1), 6) if deliveries < 5 else "bury", "PermanentError"),
    (
        "04/1",
        lambda error, n: "bury" if n > 4 or "no picture" in str(error) else min(2**n, 6),
        "begins with the second",
    ),
    ("04/1", lambda error, n: "bury" if n > 5 or "no picture" in str(error) else min(2 ** (n - 1), 6), "fifth fails"),
    ("04/2", letter_first, "torn"),
    ("04/2", ack_first, "lost"),
    ("04/2", asks_before_multi, "bob claimed"),
    ("04/2", lambda *_: 7, "wanted is one letter"),
    ("04/3", in_a_pipeline, "not one step"),
    ("04/3", in_multi, "somebody else's"),
    ("04/3", for_ever, "has had its chances"),
]


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_is_correct(name: str, server: Server) -> None:
    assert str(sl.exercise(name, EXERCISES[name].solution, server)) == f"{name} correct: {EXERCISES[name].why}"


@pytest.mark.parametrize(("name", "answer", "hint"), WRONG)
def test_a_wrong_answer_gets_a_hint(name: str, answer: Any, hint: str, any_server: Server) -> None:
    result = sl.exercise(name, answer, any_server)

    assert result.state == "not yet"
    assert hint in result.text


def test_a_watched_transaction_is_as_good_as_a_script(any_server: Server) -> None:
    assert sl.exercise("04/3", watched, any_server).state == "correct"
    with any_server.client() as client:
        assert list(client.scan_iter(match=f"{any_server.prefix}*")) == []
