"""What can go wrong inside a worker: it is slow, its handler raises, it dies at a checkpoint.

The lab orders these of the worker's process, which does them to itself; each message that is met is an event
`fault_hit`. `lab.injection` is the other side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from streamlab.errors import UnsupportedError
from streamlab.faults.base import RunContext, TargetedFault
from streamlab.history.fault_record import FaultRecord
from streamlab.schema import CountOrZero, Positive

Checkpoint = Literal["read", "started", "done", "acked"]


@dataclass(frozen=True)
class Inside(TargetedFault, family="worker", inside=True):
    """The base of faults inside a worker's process."""

    def strike(self, context: RunContext, record: FaultRecord) -> Iterator[None]:
        record.said = self.sentence(record)
        for name in self.targets(context):
            context.order(name, record.index, {"do": self.kind} | vars(self))
        yield
        for name in self.targets(context):
            context.order(name, record.index, None)


@dataclass(frozen=True, kw_only=True)
class Slow(Inside, kind="slow", state="slow", says="{whom} takes {by:g} s longer for each message, for {seconds:g} s"):
    """Every message takes longer: a full disk, a throttled neighbour, a dependency that has got slow.

    Args:
        by: seconds that each message takes more.
        seconds: how long this lasts.
    """

    by: Positive
    seconds: Positive


@dataclass(frozen=True, kw_only=True)
class Fail(Inside, kind="fail"):
    """The handler raises an error.

    Args:
        times: how many messages of each worker fail, or, with `job`, how many deliveries of that one (of a custom
            worker: how many times in each process); 0 = always.
        job: only this job, which is poison where `times` is 0; None: whatever comes.
        seconds: how long this lasts at most; None: to the end of the run.
    """

    times: CountOrZero = 1
    job: CountOrZero | None = None
    seconds: Positive | None = None

    def sentence(self, record: FaultRecord) -> str:
        what = "every message" if self.job is None else f"job {self.job}"
        return f"on {record.whom} {what} fails" + (f", {self.times} time(s)" if self.times else ", always")


@dataclass(frozen=True, kw_only=True)
class Crash(Inside, kind="crash", kills=True, says="{whom} dies as soon as it has {after} its next message"):
    """A worker dies by SIGKILL at a checkpoint of the next message that it meets.

    Args:
        after: the checkpoint: "read" (it holds a batch, nothing is begun), "started", "done" (the effect exists, and
            the XACK is not sent), "acked".
        restart_after: seconds, counted from `at`, until a new process takes the name; None: it stays dead.
    """

    after: Checkpoint = "done"
    restart_after: Positive | None = None

    @property
    def lasts(self) -> float | None:
        return self.restart_after

    def check(self, context: RunContext) -> None:
        super().check(context)
        if context.custom and self.after in {"read", "acked"}:
            raise UnsupportedError(
                f"Crash: a custom worker tells nobody when it has {self.after} a message: "
                "use after='started' or after='done'"
            )

    def strike(self, context: RunContext, record: FaultRecord) -> Iterator[None]:
        yield from super().strike(context, record)  # a process that met no message is told to live
        for name in self.targets(context):
            if not context.alive(name):
                context.spawn(name)
