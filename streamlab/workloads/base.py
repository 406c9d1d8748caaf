"""The contract of all workloads, and how one is written to a file and read again."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from streamlab.errors import UsageError

if TYPE_CHECKING:
    from streamlab.queue.message import Handler


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A number of jobs, and the schedule on which they are added.

    A subclass is a frozen dataclass with a `name` of its own, by which a file may ask for it:

        @dataclass(frozen=True, kw_only=True)
        class Count(Workload):
            name: ClassVar[str] = "count"

            def handler(self, folder: Path) -> Handler:
                return lambda message: print(message.fields["job"])

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
        require(int, "count", self.count, 1, 10_000_000)  # the times of all are set beforehand
        require(float, "rate", self.rate, 0.001, 1_000_000)

    def prepare(self, folder: Path) -> None:
        """Make what the jobs need inside `folder`. Called once, in the lab's process, before the first message."""

    def fields(self, job: int) -> dict[str, str]:
        """Return the message of job number `job`, counted from 0; the same for every call."""
        return {"job": str(job)}

    def handler(self, folder: Path) -> Handler:
        """Return what is done with each message. Called in the worker's process, with the folder of `prepare`."""
        raise NotImplementedError

    @property
    def idempotent(self) -> bool:
        """Whether doing a job twice has the effect of doing it once."""
        return False

    def effects(self, folder: Path) -> dict[int, int] | None:
        """How often each job's effect exists in the end, by job number; None where that cannot be counted.

        A witness that does not rely on what the workers write.
        """
        return None


_BY_NAME: dict[str, type[Workload]] = {}


def to_table(workload: Workload) -> dict[str, Any]:
    """Return the workload as a table that TOML can hold.

        >>> to_table(Sleep(count=10, rate=5, seconds=0.2))
        {'kind': 'sleep', 'count': 10, 'rate': 5, 'seconds': 0.2}

    Raises `UsageError` where that cannot be done: a function from a cell has no text to save.
    """
    kind = type(workload)
    if _BY_NAME.get(getattr(kind, "name", "")) is not kind:
        raise UsageError(
            f"{kind.__name__} has no name of its own to be saved under: add name: ClassVar[str] = '...' to it"
        )
    table = {field.name: getattr(workload, field.name) for field in dataclasses.fields(workload)}
    for key, value in table.items():
        if not isinstance(value, bool | int | float | str | tuple):
            raise UsageError(
                f"{key} is a {type(value).__name__}, which a file cannot hold: "
                "keep it in the notebook, or make it a Workload of its own in a module"
            )
    return {"kind": kind.name} | table


def from_table(table: Mapping[str, Any]) -> Workload:
    """Return the workload that `to_table` made this table of; keys that are missing have their defaults.

        >>> from_table({"kind": "resize-images", "count": 300})
        ResizeImages(count=300, ...)

    Raises `UsageError` naming the key that is unknown, missing or wrong. Each workload checks its own values, so that
    a file and a cell are told the same.
    """
    named, given = table.get("kind"), {key: value for key, value in table.items() if key != "kind"}
    kind = _BY_NAME.get(named) if isinstance(named, str) else None
    if kind is None:
        raise UsageError(f"workload: kind is {named!r}, but must be one of {', '.join(sorted(_BY_NAME))}")
    expected = inspect.signature(kind)
    try:
        expected.bind(**given)
        return kind(**given)
    except TypeError as error:
        raise UsageError(f"workload {kind.name}: {error}; its keys: {', '.join(expected.parameters)}") from None
    except UsageError as error:
        raise UsageError(f"workload {kind.name}: {error}") from None


def require(kind: type, what: str, value: Any, least: float, most: float) -> None:
    """Raise `UsageError` unless `value` is an int or a float, as `kind` says, within the limits.

    `what` names it, as its user does.
    """
    number = isinstance(value, (int, kind)) and not isinstance(value, bool)
    if not (number and least <= value <= most):
        expected = "a whole number" if kind is int else "a number"
        raise UsageError(f"{what} is {value!r}, but must be {expected} from {least} to {most:,}")
