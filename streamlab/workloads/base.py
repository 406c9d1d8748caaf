"""The contract of all workloads, and how one is written to a file and read again."""

from __future__ import annotations

import dataclasses
import math
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeAlias, get_args, get_origin, get_type_hints

from streamlab.errors import UsageError


class Message(Protocol):
    """What a handler sees of an entry: the queue's message fits, and so does a test's own."""

    @property
    def id(self) -> str:
        """The entry ID, "milliseconds-sequence"."""

    @property
    def fields(self) -> dict[str, str]:
        """Names and values, as the producer sent them."""

    @property
    def deliveries(self) -> int:
        """How often it has been delivered, this time included."""


Handler: TypeAlias = Callable[[Message], None]


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A number of jobs, and the schedule on which they are added.

    A subclass is a frozen dataclass with a `name` of its own, by which a file may ask for it:

        @dataclass(frozen=True, kw_only=True)
        class Count(Workload):
            name: ClassVar[str] = "count"

            def fields(self, job: int) -> dict[str, str]:
                return {"number": str(job)}

            def handler(self, folder: Path) -> Handler:
                return lambda message: print(message.fields["number"])

    Attributes:
        count: messages in all.
        rate: messages a second.

    Raises `UsageError` for a count or rate that cannot be meant.
    """

    name: ClassVar[str]

    count: int = 100
    rate: float = 50.0

    def __init_subclass__(cls) -> None:
        if "name" in cls.__dict__:
            _BY_NAME[cls.name] = cls

    def __post_init__(self) -> None:
        require_whole("count", self.count, at_least=1)
        if self.count > _MOST:
            raise UsageError(f"count is {self.count}, but must be {_MOST} or less")
        require_number("rate", self.rate)
        if self.rate == 0:
            raise UsageError("rate is 0, so nothing would ever be added: give messages a second, say rate=40")
        if not 0.001 <= self.rate <= 1e6:
            raise UsageError(f"rate is {self.rate!r}, but must be from 0.001 to 1,000,000 messages a second")

    def prepare(self, folder: Path) -> None:
        """Make what the jobs need inside `folder`. Called once, in the lab's process, before the first message."""

    def fields(self, job: int) -> dict[str, str]:
        """Return the message of job number `job`, counted from 0; the same for every call."""
        raise NotImplementedError

    def handler(self, folder: Path) -> Handler:
        """Return what is done with each message. Called in the worker's process, with the folder of `prepare`."""
        raise NotImplementedError

    @property
    def idempotent(self) -> bool:
        """Whether doing a job twice has the effect of doing it once."""
        return False

    def effects(self, folder: Path) -> dict[int, int] | None:
        """How often each job's effect exists in the end, by job number: a witness that is not the worker's word.

        None where this workload's effects cannot be counted.
        """
        return None


_MOST = 10_000_000  # jobs: the times of all are set beforehand
_BY_NAME: dict[str, type[Workload]] = {}


def to_table(workload: Workload) -> dict[str, Any]:
    """Return the workload as a table that TOML can hold.

        >>> to_table(Sleep(count=10, rate=5, seconds=0.2))
        {'kind': 'sleep', 'count': 10, 'rate': 5.0, 'seconds': 0.2}

    Raises `UsageError` where that cannot be done: a function from a cell has no text to save.
    """
    kind = type(workload)
    if _BY_NAME.get(getattr(kind, "name", "")) is not kind:
        raise UsageError(
            f"{kind.__name__} has no name of its own to be saved under: add name: ClassVar[str] = '...' to it"
        )
    return {"kind": kind.name} | {
        field.name: _plain(getattr(workload, field.name), field.name) for field in dataclasses.fields(workload)
    }


def from_table(table: Mapping[str, Any]) -> Workload:
    """Return the workload that `to_table` made this table of; keys that are missing have their defaults.

        >>> from_table({"kind": "resize-images", "count": 300})
        ResizeImages(count=300, ...)

    Raises `UsageError` naming the key that is unknown, missing or of a wrong type, and what was expected.
    """
    named = table.get("kind")
    kind = _BY_NAME.get(named) if isinstance(named, str) else None
    if kind is None:
        raise UsageError(f"workload: kind is {named!r}, but must be one of {_listed(_BY_NAME)}")
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    given = {key: value for key, value in table.items() if key != "kind"}
    for key in given:
        if key not in fields:
            raise UsageError(f"workload {kind.name}: unknown key {key!r}; it has {_listed(fields)}")
    for key, field in fields.items():
        if key not in given and field.default is field.default_factory is dataclasses.MISSING:
            raise UsageError(f"workload {kind.name}: {key} is missing; it must be {_said(hints[key])}")
    return kind(**{key: _read(value, hints[key], f"workload {kind.name}: {key}") for key, value in given.items()})


def require_whole(what: str, value: object, *, at_least: int, at_most: int | None = None) -> None:
    """Raise `UsageError` unless `value` is a whole number within the limits. `what` names it, as its user does."""
    if type(value) is not int or value < at_least or (at_most is not None and value > at_most):
        limits = f"of {at_least} or more" if at_most is None else f"from {at_least} to {at_most}"
        raise UsageError(f"{what} is {value!r}, but must be a whole number {limits}")


def require_number(what: str, value: object) -> None:
    """Raise `UsageError` unless `value` is zero or a positive number, and finite. `what` names it, as its user does."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise UsageError(f"{what} is {value!r}, but must be a positive number, say {what}=40")


def _plain(value: Any, key: str) -> Any:
    """`value` in the types of TOML."""
    if isinstance(value, tuple):
        return [_plain(item, key) for item in value]
    if not isinstance(value, bool | int | float | str):
        raise UsageError(
            f"{key} is a {type(value).__name__}, which a file cannot hold: "
            "keep it in the notebook, or make it a Workload of its own in a module"
        )
    return value


def _read(value: Any, hint: Any, where: str) -> Any:
    """`value` as the type that `hint` asks for."""
    if hint is float and type(value) is int and abs(value) < 2**63:
        return float(value)
    if hint in _WORDS and type(value) is hint:
        return value
    if get_origin(hint) is tuple and isinstance(value, list | tuple):
        inner = get_args(hint)
        if inner[-1] is ...:
            inner = (inner[0],) * len(value)
        if len(inner) == len(value):
            return tuple(_read(item, part, where) for item, part in zip(value, inner, strict=True))
    raise UsageError(f"{where} is {reprlib.repr(value)}, but must be {_said(hint)}")


_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def _said(hint: Any) -> str:
    """The type in words, for somebody who writes a file."""
    if hint in _WORDS:
        return _WORDS[hint]
    if get_origin(hint) is tuple:
        inner = get_args(hint)
        if inner[-1] is ...:
            return f"a list of {_said(inner[0])}"
        return f"[{', '.join(map(_said, inner))}]"
    return "something that only Python can make: a file cannot hold it"


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(sorted(names))
