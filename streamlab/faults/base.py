"""What a fault is: something that is done to the system at a planned time, and undone or not."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from streamlab.errors import UsageError


class Stage(Protocol):
    """What a fault can reach: the workers by name. The lab provides it."""

    def workers(self) -> list[str]:
        """The names of the workers of this run."""

    def alive(self, worker: str) -> bool:
        """Whether the worker's process runs now."""

    def pending(self, worker: str) -> int:
        """How many entries are pending for the worker, asked of Redis."""

    def freeze(self, worker: str) -> None:
        """SIGSTOP the worker's process, and wait until it stands still."""

    def thaw(self, worker: str) -> None:
        """SIGCONT it."""

    def kill(self, worker: str) -> None:
        """SIGKILL the worker's process and wait for its end."""

    def spawn(self, worker: str) -> None:
        """Start the worker's next incarnation, under the same name."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """The base of all faults. A fault is data: it prints, it compares, it is saved with the experiment.

    Attributes:
        at: seconds after the first job is due.
    """

    kind: ClassVar[str]
    at: float

    def __post_init__(self) -> None:
        if not 0 <= self.at < float("inf"):
            raise UsageError(f"fault {self.kind!r}: at={self.at} must be seconds from the start, 0 or more")

    def check(self, stage: Stage) -> None:
        """Refuse before the run what cannot be done in it, by raising UsageError or UnsupportedError."""

    def ready(self, stage: Stage) -> bool:
        """Whether this is a moment at which the fault would hit something; asked from `at` on, for 2 s at most."""
        return True

    def start(self, stage: Stage) -> dict[str, Any]:
        """Do it. Returns what is worth knowing about it, for the history."""
        raise NotImplementedError

    def ends_after(self) -> float | None:
        """Seconds from start to stop; None for what is not undone."""
        return None

    def stop(self, stage: Stage) -> None:
        """Undo it."""

    def table(self) -> dict[str, Any]:
        """The fault as plain data; `from_table` reads it again."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {"kind": self.kind} | {name: value for name, value in values.items() if value is not None}


def from_table(table: Mapping[str, Any], kinds: Mapping[str, type[Fault]]) -> Fault:
    """A fault from its data; UsageError names the key that is wrong and what was expected."""
    values = dict(table)
    kind = values.pop("kind", None)
    if kind not in kinds:
        raise UsageError(f"fault of unknown kind {kind!r}; there are: {', '.join(sorted(kinds))}")
    known = {field.name: field for field in dataclasses.fields(kinds[kind])}
    for name, value in values.items():
        if name not in known:
            raise UsageError(f"fault {kind!r}: unknown key {name!r}; there are: {', '.join(known)}")
        wants_text = str(known[name].type).startswith("str")
        if isinstance(value, str) is not wants_text or isinstance(value, (bool, dict, list)):
            expected = "text" if wants_text else "a number"
            raise UsageError(f"fault {kind!r}: {name} = {value!r}, expected {expected}")
    try:
        return kinds[kind](**values)
    except TypeError as error:
        missing = [name for name, field in known.items() if name not in values and field.default is dataclasses.MISSING]
        raise UsageError(f"fault {kind!r}: missing {', '.join(missing)}") from error
