from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

import streamlab as sl
from streamlab.errors import UsageError
from streamlab.learn.exercises import Result, find, is_stub
from streamlab.servers import Server


def stub_with_docstring(client: Any, key: str) -> int:  # type: ignore[empty-body]
    """Do it."""
    ...


def does_nothing() -> None:
    pass


def returns_ellipsis() -> Any:
    # not yet
    return ...


@pytest.mark.parametrize("answer", [..., stub_with_docstring, does_nothing, returns_ellipsis, lambda: ...])
def test_a_stub_is_no_attempt(answer: Any) -> None:
    assert is_stub(answer)


@pytest.mark.parametrize("answer", [0, None, "", len, lambda: 0, lambda x: x, test_a_stub_is_no_attempt])
def test_anything_else_is_an_attempt(answer: Any) -> None:
    assert not is_stub(answer)


def test_an_answer_shows_how_it_stands() -> None:
    assert str(sl.exercise("00/1", ...)) == "00/1 not attempted"
    assert str(sl.exercise("00/1", 61)).startswith("00/1 not yet: ")
    assert str(sl.exercise("00/1", 60_000)).startswith("00/1 correct: ")


def test_it_shows_itself_in_a_notebook_with_its_text_escaped() -> None:
    html = Result("00/1", "not yet", "a < b")._repr_html_()

    assert "<b" in html
    assert "not yet</b>: a &lt; b" in html


def test_an_answer_that_raises_is_told_what_it_raised(any_server: Server) -> None:
    result = sl.exercise("00/3", lambda client, key, message: message.nonsense, any_server)

    assert result.state == "not yet"
    assert "AttributeError" in result.text


@pytest.mark.parametrize("name", ["00/9", "00", "99/1", ""])
def test_an_unknown_name_lists_what_there_is(name: str) -> None:
    for ask in (lambda: sl.exercise(name, ...), lambda: sl.solution(name)):
        with pytest.raises(UsageError, match=r"no exercise .*; there are 00/1"):
            ask()


def test_a_check_that_needs_a_redis_asks_for_one() -> None:
    assert find("00/2").needs_redis
    with pytest.raises(UsageError, match=r"needs a Redis: .*lab\.server"):
        sl.exercise("00/2", len)


def test_a_solution_shows_its_source_or_its_value() -> None:
    assert str(sl.solution("00/1")) == "60000"
    assert str(sl.solution("00/2")).startswith("def take_over(")


def test_the_mechanism_is_light() -> None:
    heavy = "{'pandas', 'matplotlib', 'redis', 'IPython'}"
    code = f"import sys, streamlab as sl; sl.exercise; print({heavy} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert out.stdout.strip() == "set()"
