"""What can go wrong inside a worker: it is slow, its handler raises, it dies at a checkpoint.

The worker's process does these to itself, by order of the lab; each message that is met is an event `fault_hit`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

from streamlab.errors import UnsupportedError, UsageError
from streamlab.faults.base import Family, Fault, Stage, check_target, positive, targets

Checkpoint = Literal["read", "started", "done", "acked"]


@dataclass(frozen=True)
class Inside(Fault):
    """The base of faults inside a worker's process."""

    family: ClassVar[Family] = "worker"

    target: str

    def check(self, stage: Stage) -> None:
        """The target must be one of the workers."""
        check_target(self, stage)

    def start(self, stage: Stage) -> dict[str, Any]:
        """Order it."""
        for name in self._names(stage):
            stage.order(name, self.index, self.order())
        return {}

    def stop(self, stage: Stage) -> dict[str, Any]:
        """Take the order back."""
        for name in self._names(stage):
            stage.order(name, self.index, None)
        return {}

    def order(self) -> dict[str, Any]:
        """What the worker's process is told: the kind, and its settings."""
        raise NotImplementedError

    def _names(self, stage: Stage) -> list[str]:
        return targets(self.target, stage)


@dataclass(frozen=True)
class Slow(Inside):
    """Every message takes longer: a full disk, a throttled neighbour, a dependency that has got slow.

    Args:
        target: the worker's name, or "one", "all", "oldest".
        at: seconds after the first job is due.
        by: seconds that each message takes more.
        seconds: how long this lasts.
    """

    kind: ClassVar[str] = "slow"
    by: float = field(kw_only=True)
    seconds: float = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "by", "seconds")

    def ends_after(self) -> float | None:
        """When it is as quick as before."""
        return self.seconds

    def order(self) -> dict[str, Any]:
        """So many seconds more."""
        return {"do": "slow", "by": self.by}

    def said(self, facts: Mapping[str, Any]) -> str:
        """Who is slow."""
        return f"{facts['target']} takes {self.by:g} s longer for each message, for {self.seconds:g} s"


@dataclass(frozen=True)
class Fail(Inside):
    """The handler raises an error.

    Args:
        target: the worker's name, or "one", "all", "oldest".
        at: seconds after the first job is due.
        times: how many messages of each worker fail, or, with `job`, how many deliveries of that one (of a worker that
            is not ours: how many times in each process); 0 = always.
        job: only this job, which is poison where `times` is 0; None: whatever comes.
        seconds: how long this lasts at most; None: to the end of the run.
    """

    kind: ClassVar[str] = "fail"
    times: int = field(default=1, kw_only=True)
    job: int | None = field(default=None, kw_only=True)
    seconds: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.times, bool) or not isinstance(self.times, int) or self.times < 0:
            raise UsageError(f"fault 'fail': times={self.times!r} must be a whole number; 0 means always")
        if self.job is not None and (isinstance(self.job, bool) or not isinstance(self.job, int) or self.job < 0):
            raise UsageError(f"fault 'fail': job={self.job!r} must be the number of a job, 0 or more")
        if self.seconds is not None:
            positive(self, "seconds")

    def ends_after(self) -> float | None:
        """When the handler works again."""
        return self.seconds

    def order(self) -> dict[str, Any]:
        """Whom to fail, and how often."""
        return {"do": "fail", "times": self.times, "job": self.job}

    def said(self, facts: Mapping[str, Any]) -> str:
        """What fails."""
        what = "every message" if self.job is None else f"job {self.job}"
        return f"on {facts['target']} {what} fails" + (f", {self.times} time(s)" if self.times else ", always")


@dataclass(frozen=True)
class Crash(Inside):
    """A worker dies by SIGKILL at a checkpoint of the next message that it meets.

    Args:
        target: the worker's name, or "one", "all", "oldest".
        at: seconds after the first job is due.
        after: the checkpoint: "read" (it holds a batch, nothing is begun), "started", "done" (the effect exists, and
            the XACK is not sent), "acked".
        restart_after: seconds, counted from `at`, until a new process takes the name; None: it stays dead.
    """

    kind: ClassVar[str] = "crash"
    after: Checkpoint = field(default="done", kw_only=True)
    restart_after: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.after not in get_args(Checkpoint):
            raise UsageError(f"fault 'crash': after={self.after!r}, expected one of {', '.join(get_args(Checkpoint))}")
        if self.restart_after is not None:
            positive(self, "restart_after")

    def check(self, stage: Stage) -> None:
        """Of somebody else's worker only the handler is known."""
        super().check(stage)
        if stage.foreign and self.after in {"read", "acked"}:
            raise UnsupportedError(
                f"fault 'crash': a worker that is not streamlab's own tells nobody when it has {self.after} a message: "
                "use after='started' or after='done'"
            )

    def ends_after(self) -> float | None:
        """When a new process is started."""
        return self.restart_after

    def stop(self, stage: Stage) -> dict[str, Any]:
        """Start a new process; one that met no message is told to live."""
        super().stop(stage)
        for name in self._names(stage):
            if not stage.alive(name):
                stage.spawn(name)
        return {}

    def order(self) -> dict[str, Any]:
        """Where to die."""
        return {"do": "crash", "after": self.after}

    def said(self, facts: Mapping[str, Any]) -> str:
        """Who will die, and when."""
        return f"{facts['target']} dies as soon as it has {self.after} its next message"
