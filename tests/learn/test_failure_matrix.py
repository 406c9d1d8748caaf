"""notebooks/07_failure_matrix.ipynb: its exercises as got wrong. As stubs and as solved: test_course.py."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

import pytest

import streamlab as sl
from streamlab.servers import Server


def one_page(client: Any, stream: str, group: str, idle_ms: int) -> Any:
    rows = client.xpending_range(stream, group, "-", "+", 100, idle=idle_ms)
    return {name: [row["consumer"] for row in rows].count(name) for name in {row["consumer"] for row in rows}}


def by_claiming(client: Any, stream: str, group: str, idle_ms: int) -> Any:
    return {"dead": len(client.xautoclaim(stream, group, "alarm", idle_ms, count=1000)[1])}


def looks_then_deletes(client: Any, stream: str, group: str, consumer: str) -> Any:
    if client.xpending_range(stream, group, "-", "+", 1, consumer):
        return False
    client.xgroup_delconsumer(stream, group, consumer)
    return True


def early(client: Any, stream: str, group: str, me: str, handle: Any) -> None:
    _, rows, *_ = client.xautoclaim(stream, group, me, 60_000)
    for entry, fields in rows + [row for _, new in client.xreadgroup(group, me, {stream: ">"}) for row in new]:
        client.xack(stream, group, entry)
        with suppress(RuntimeError):
            handle(entry, fields)


def for_ever(client: Any, stream: str, group: str, me: str, handle: Any, *, idle: int = 60_000) -> None:
    _, rows, *_ = client.xautoclaim(stream, group, me, idle)
    for entry, fields in rows + [row for _, new in client.xreadgroup(group, me, {stream: ">"}) for row in new]:
        with suppress(RuntimeError):
            handle(entry, fields)
            client.xack(stream, group, entry)


WRONG = [
    ("07/1", one_page, "as many rows as you asked for"),
    ("07/1", by_claiming, "looks and does not touch"),
    ("07/2", lambda client, *names: bool(client.xgroup_delconsumer(*names)), "the entry with it"),
    ("07/2", looks_then_deletes, "in one step"),
    ("07/2", lambda *names: False, "still there"),
    ("07/3", early, "was tried 1 time"),
    ("07/3", for_ever, "after 4, give it up"),
    ("07/3", partial(for_ever, idle=0), "leave those alone"),
    ("07/3", partial(for_ever, idle=1_800_000_000_000), "did not work on them all"),
]


@pytest.mark.parametrize(("name", "answer", "hint"), WRONG)
def test_a_wrong_answer_gets_a_hint(name: str, answer: Any, hint: str, any_server: Server) -> None:
    result = sl.exercise(name, answer, any_server)

    assert result.state == "not yet"
    assert hint in result.text
