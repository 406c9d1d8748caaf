"""The contract of all workloads, and how one is written to a file and read again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeAlias

from msgspec import Meta

from streamlab.errors import UsageError
from streamlab.schema import Checked, build_one_of

if TYPE_CHECKING:
    from streamlab.queue.message import Handler

Rate: TypeAlias = Annotated[
    float, Meta(ge=0.001, le=1e6, description="messages a second, from 0.001 to 1,000,000, say rate=40")
]


@dataclass(frozen=True, kw_only=True)
class Workload(Checked):
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

    count: Annotated[int, Meta(ge=1, le=10_000_000)] = 100  # the times of all are set beforehand
    rate: Rate = 50.0

    def __init_subclass__(cls) -> None:
        if "name" in cls.__dict__:
            _BY_NAME[cls.name] = cls

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
    return build_one_of(_BY_NAME, table, "workload")
