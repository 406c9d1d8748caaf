"""notebooks/01_streams.ipynb: its exercises as got wrong. As stubs and as solved: test_course.py."""

from __future__ import annotations

import time
from typing import Any

import pytest

import streamlab as sl
from streamlab.servers import Server


def includes_the_last(client: Any, stream: str, size: int) -> Any:
    found, start = [], "-"
    while page := client.xrange(stream, min=start, count=size):
        found += page
        if len(page) < size:
            return found
        start = page[-1][0]
    return found


def never_ends(client: Any, stream: str, size: int) -> Any:
    start = "-"
    while page := client.xrange(stream, min=start, count=size):
        start = page[-1][0]


def by_xread(client: Any, stream: str, size: int) -> Any:
    found, last = [], "0"
    while reply := client.xread({stream: last}, count=size):
        found += reply[0][1]
        last = found[-1][0]
    return found


def by_info(client: Any, stream: str) -> Any:
    return client.xinfo_stream(stream)["last-generated-id"] if client.exists(stream) else "0"


def trims_to(minid: Any, approximate: bool = False) -> Any:
    return lambda client, stream, seconds: client.xtrim(stream, minid=minid(seconds), approximate=approximate)


WRONG = [
    ("01/1", includes_the_last, "came twice"),
    ("01/1", never_ends, "no end"),
    ("01/1", lambda client, stream, size: client.xrange(stream), "count=size"),
    ("01/1", lambda client, stream, size: client.xrange(stream, count=size), "10 of 33"),
    ("01/2", lambda client, stream: "$", "when it is called"),
    ("01/2", lambda client, stream: int(time.time() * 1000), "ahead of the clock"),
    ("01/2", lambda client, stream: "0", "there before"),
    ("01/3", trims_to(lambda seconds: int(time.time()) - seconds), "nothing was removed"),
    ("01/3", trims_to(lambda seconds: int((time.time() - seconds) * 1000), approximate=True), "= or ~"),
    ("01/3", trims_to(lambda seconds: int(time.time() * 1000)), "younger than 300 s"),
]


@pytest.mark.parametrize(("name", "answer"), [("01/1", by_xread), ("01/2", by_info)])
def test_another_way_is_correct_too(name: str, answer: Any, any_server: Server) -> None:
    assert sl.exercise(name, answer, any_server).state == "correct"


@pytest.mark.parametrize(("name", "answer", "hint"), WRONG)
def test_a_wrong_answer_gets_a_hint(name: str, answer: Any, hint: str, any_server: Server) -> None:
    result = sl.exercise(name, answer, any_server)

    assert result.state == "not yet"
    assert hint in result.text
