"""notebooks/05_zombies_and_slow_jobs.ipynb: its exercises as got wrong. As stubs and as solved: test_course.py."""

from __future__ import annotations

from typing import Any

import pytest

import streamlab as sl
from streamlab.servers import Server


def steals(client: Any, stream: str, group: str, me: str, ids: list[str]) -> Any:
    renewed = client.xclaim(stream, group, me, 0, ids, justid=True)
    return [entry for entry in ids if entry not in renewed]


def looks_then_renews(client: Any, stream: str, group: str, me: str, ids: list[str], **options: Any) -> Any:
    mine = [entry for entry in ids if client.xpending_range(stream, group, entry, entry, 1, me)]
    if mine:
        client.xclaim(stream, group, me, 0, mine, **({"justid": True} | options))
    return [entry for entry in ids if entry not in mine]


def counts(client: Any, stream: str, group: str, me: str, ids: list[str]) -> Any:
    return looks_then_renews(client, stream, group, me, ids, justid=False)


def in_multi(client: Any, stream: str, group: str, entry: str, account: str) -> Any:
    with client.pipeline(transaction=True) as both:
        return both.incrby(account, 10).xack(stream, group, entry).execute()[1] == 1


def acks_then_adds(client: Any, stream: str, group: str, entry: str, account: str) -> Any:
    return bool(client.xack(stream, group, entry) and client.incrby(account, 10))


def notes_then_adds(client: Any, stream: str, group: str, entry: str, account: str) -> Any:
    new = client.sadd(f"{stream}:done", entry) and client.incrby(account, 10)
    client.xack(stream, group, entry)
    return bool(new)


def watches(client: Any, stream: str, group: str, entry: str, account: str) -> Any:
    def once(both: Any) -> Any:
        new = not both.sismember(f"{stream}:done", entry)
        both.multi()
        if new:
            both.sadd(f"{stream}:done", entry).incrby(account, 10)
        both.xack(stream, group, entry)
        return new

    return client.transaction(once, f"{stream}:done", value_from_callable=True)


def overwrites(client: Any, key: str, token: int, value: str) -> Any:
    return client.hset(key, mapping={"token": token, "value": value}) >= 0


def as_text(client: Any, key: str, token: int, value: str) -> Any:
    if (client.hget(key, "token") or "") > str(token):
        return False
    return client.hset(key, mapping={"token": token, "value": value}) >= 0


def looks_then_writes(client: Any, key: str, token: int, value: str) -> Any:
    if int(client.hget(key, "token") or 0) > token:
        return False
    return client.hset(key, mapping={"token": token, "value": value}) >= 0


WRONG = [
    ("05/1", {"a", "b"}, "another 100"),
    ("05/1", {"a", "c"}, "2 more"),
    ("05/2", steals, "takes from anybody"),
    ("05/2", counts, "JUSTID"),
    ("05/2", looks_then_renews, "one step"),
    ("05/3", in_multi, "a zombie called it again"),
    ("05/3", acks_then_adds, "killed before its command number 2"),
    ("05/3", notes_then_adds, "killed before its command number 2"),
    ("05/4", overwrites, "that is the zombie"),
    ("05/4", as_text, "tonumber"),
    ("05/4", looks_then_writes, "one step"),
]


def test_watch_and_multi_are_correct_too(any_server: Server) -> None:
    assert str(sl.exercise("05/3", watches, any_server)).startswith("05/3 correct")


@pytest.mark.parametrize(("name", "answer", "hint"), WRONG)
def test_a_wrong_answer_gets_a_hint(name: str, answer: Any, hint: str, any_server: Server) -> None:
    result = sl.exercise(name, answer, any_server)

    assert result.state == "not yet"
    assert hint in result.text
