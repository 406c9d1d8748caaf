from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

import streamlab as sl
from streamlab.errors import UsageError
from streamlab.learn.exercises import Result, is_stub


def stub_with_docstring(client: Any, key: str) -> int:  # type: ignore[empty-body]
    """Do it."""
    ...


def does_nothing() -> None:
    pass


def returns_ellipsis() -> Any:
    # not yet
    return ...


def test_a_stub_is_no_attempt_and_anything_else_is_one() -> None:
    assert all(map(is_stub, (..., stub_with_docstring, does_nothing, returns_ellipsis, lambda: ...)))
    assert not any(map(is_stub, (0, None, "", len, lambda: 0, lambda x: x, stub_with_docstring.__call__)))


def test_an_answer_shows_how_it_stands_and_a_solution_its_source_or_its_value() -> None:
    assert str(sl.exercise("00/1", ...)) == "00/1 not attempted"
    assert str(sl.exercise("00/1", 61)).startswith("00/1 not yet: ")
    assert "not yet</b>: a &lt; b" in Result("00/1", "not yet", "a < b")._repr_html_()
    assert sl.solution("00/1") == "60000"
    assert sl.solution("00/2").startswith("def take_over(")


def test_what_makes_no_sense_is_told() -> None:
    for name in ("00/9", "00", "99/1", ""):
        for ask in (lambda name=name: sl.exercise(name, ...), lambda name=name: sl.solution(name)):
            with pytest.raises(UsageError, match=r"no exercise .*; there are 00/1"):
                ask()
    with pytest.raises(UsageError, match=r"needs a Redis: .*lab\.server"):
        sl.exercise("00/2", len)


def test_the_mechanism_is_light() -> None:
    heavy = "{'pandas', 'matplotlib', 'redis', 'IPython'}"
    code = f"import sys, streamlab as sl; sl.exercise; print({heavy} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert out.stdout.strip() == "set()"
