"""Exercises in notebooks: an answer goes in; "not attempted", "not yet" with a hint, or "correct" with why comes out.

A notebook's exercises are one module beside this one, named in `_MODULES`. Each is a function that tries an answer
and yields hints, of which the first is shown; the decorator gives it a name and a solution:

    @check("00/1", 60_000, "XAUTOCLAIM counts idle time in milliseconds.")
    def a_minute(answer: Any) -> Iterator[str]:
        if answer != 60_000:
            yield "How many milliseconds are a minute?"

A check that takes a second argument gets the Redis that the notebook uses.
"""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from importlib import import_module
from inspect import getsource, signature
from types import FunctionType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from streamlab.errors import UsageError
from streamlab.learn.text import Text

if TYPE_CHECKING:
    from streamlab.servers import Server

State: TypeAlias = Literal["correct", "not yet", "not attempted"]
Check: TypeAlias = Callable[..., Iterator[str]]
Answer: TypeAlias = Callable[..., Any]

# A notebook's number, and the module with its exercises.
_MODULES = {
    "00": "start_here",
    "01": "streams",
    "02": "consumer_groups",
    "03": "crash_and_claim",
    "04": "retries_and_dead_letters",
    "05": "zombies_and_slow_jobs",
    "06": "latency_and_backlog",
    "07": "failure_matrix",
}
# Readable on JupyterLab's white and on its black.
_COLOURS = {"correct": "#009E73", "not yet": "#D55E00", "not attempted": "#808080"}


@dataclass(frozen=True)
class Exercise:
    """A question of a notebook: how an answer is checked, why the right one is right, and one that is."""

    name: str
    check: Check
    why: str
    solution: Any

    @property
    def needs_redis(self) -> bool:
        """Whether the check runs the answer against a Redis."""
        return len(signature(self.check).parameters) > 1


@dataclass(frozen=True)
class Result:
    """What is to be said about an answer. It shows itself in a cell."""

    name: str
    state: State
    text: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.state}" + (f": {self.text}" if self.text else "")

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def _repr_html_(self) -> str:
        text = f": {escape(self.text)}" if self.text else ""
        return f'{self.name} <b style="color: {_COLOURS[self.state]}">{self.state}</b>{text}'


_exercises: dict[str, Exercise] = {}


def check(name: str, solution: Any, why: str) -> Callable[[Check], Check]:
    """Make a function the check of the exercise `name`, such as "00/1"."""

    def register(function: Check) -> Check:
        _exercises[name] = Exercise(name, function, why, solution)
        return function

    return register


def exercise(name: str, answer: Any, server: Server | None = None) -> Result:
    """Look at an answer.

        exercise("00/1", ...)         # 00/1 not attempted
        exercise("00/1", 60)          # 00/1 not yet: Redis counts idle time in milliseconds.

    Args:
        name: the notebook's number and the exercise's.
        answer: what the exercise asks for; `...`, or a function with an empty body, is no attempt.
        server: the Redis for a check that needs one: `lab.server`.

    Raises `UsageError` for a name that does not exist, and where a server is needed and none is given.
    """
    asked = find(name)
    if is_stub(answer):
        return Result(name, "not attempted")
    if asked.needs_redis and server is None:
        raise UsageError(f"exercise {name} needs a Redis: exercise({name!r}, answer, lab.server)")
    try:
        hint = next(asked.check(answer, server) if asked.needs_redis else asked.check(answer), None)
    except Exception as error:  # whatever an answer does wrong is an answer, too
        hint = f"it raised {type(error).__name__}: {error}"
    return Result(name, "not yet", hint) if hint else Result(name, "correct", asked.why)


def solution(name: str) -> Text:
    """Return a solution, to be looked at. Raises `UsageError` for a name that does not exist."""
    answer = find(name).solution
    return Text(getsource(answer).rstrip() if isinstance(answer, FunctionType) else repr(answer))


def find(name: str) -> Exercise:
    """Return the exercise of this name. Raises `UsageError`, and says which there are."""
    there = in_notebook(name.partition("/")[0])
    if name not in there:
        known = ", ".join(there) or ", ".join(f"{number}/1 ..." for number in _MODULES)
        raise UsageError(f"no exercise {name!r}; there are {known}")
    return there[name]


def in_notebook(number: str) -> dict[str, Exercise]:
    """Return the exercises of the notebook with this number, by name, in order; none for a number without any."""
    if number in _MODULES:
        import_module(f"streamlab.learn.{_MODULES[number]}")
    return {name: found for name, found in sorted(_exercises.items()) if name.startswith(f"{number}/")}


def is_stub(answer: Any) -> bool:
    """Whether this is no attempt: `...`, or a function that only returns None or `...`, whatever its docstring says."""
    if answer is ...:
        return True
    if not inspect.isfunction(answer):
        return False
    steps = [step for step in dis.get_instructions(answer) if step.opname not in ("RESUME", "NOP", "RETURN_VALUE")]
    return all(step.opname in ("LOAD_CONST", "RETURN_CONST") and step.argval in (None, ...) for step in steps)
