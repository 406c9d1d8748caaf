"""What can be done to a worker's process from outside: SIGKILL and SIGSTOP."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from redis.exceptions import RedisError

from streamlab.faults.base import RunContext, TargetedFault
from streamlab.history.fault_record import FaultRecord
from streamlab.schema import Count, Positive, Seconds


@dataclass(frozen=True, kw_only=True)
class WorkerFault(TargetedFault, family="worker"):
    """The base of faults that hit a worker while it holds messages; to hit an idle one would show nothing.

    It strikes at the first moment from `at` on at which `target` has at least `holding` pending entries; after 1 s any
    will do, and after 2 s none. The worker is stopped for the look, so that what was seen is still true when the fault
    strikes.
    """

    holding: Count = 1

    def relaxed(self) -> WorkerFault:
        return dataclasses.replace(self, holding=1)

    def ready(self, context: RunContext, record: FaultRecord) -> bool:
        names = self._alive(context)
        held = 0
        try:
            for name in names:
                context.pause(name, record.index)
                context.pending(name)  # behind this answer, an XACK that was on its way has arrived
                held += context.pending(name)
        finally:
            if held < self.holding:
                for name in names:
                    context.resume(name, record.index)
        return held >= self.holding  # the workers stand still, and `strike` follows

    def _alive(self, context: RunContext) -> list[str]:
        return [name for name in self.targets(context) if context.alive(name)]


@dataclass(frozen=True, kw_only=True)
class Kill(WorkerFault, kind="kill", kills=True, state="killed"):
    """SIGKILL a worker while it holds messages, as the kernel does when memory runs out.

    Args:
        restart_after: seconds until a new process takes the worker's name; None: it stays dead.
        holding: how many pending entries it must have.
    """

    restart_after: Seconds | None = None

    @property
    def lasts(self) -> float | None:
        return self.restart_after

    def strike(self, context: RunContext, record: FaultRecord) -> Iterator[None]:
        names = self._alive(context)
        for name in names:
            context.kill(name)
        survivors = self._alive(context)
        record.doubt = f"{', '.join(survivors)} survived it" if survivors else ""
        try:
            record.held = sum(map(context.pending, names))  # nothing can change that any more but a claim
        except RedisError:
            self._restart(context)
            raise
        record.said = (
            f"killed {record.whom} (SIGKILL) while it held {record.held} message(s): "
            "they stay pending, until somebody claims them"
        )
        yield
        self._restart(context)

    def _restart(self, context: RunContext) -> None:
        for name in self.targets(context):
            if not context.alive(name):
                context.spawn(name)


@dataclass(frozen=True, kw_only=True)
class Pause(WorkerFault, kind="pause", state="paused"):
    """SIGSTOP a worker while it holds messages, and SIGCONT it later: a long garbage collection, a laptop's lid.

    For longer than `claim_after` it makes a zombie: others have claimed what it holds, and it goes on as if nothing had
    happened.

    Args:
        seconds: how long it stands still.
        holding: how many pending entries it must have.
    """

    seconds: Positive

    def strike(self, context: RunContext, record: FaultRecord) -> Iterator[None]:
        try:
            names = self._alive(context)
            for name in names:
                context.pause(name, record.index)
            record.held = sum(map(context.pending, names))
            record.said = (
                f"stopped {record.whom} (SIGSTOP) for {self.seconds:g} s while it held {record.held} message(s): "
                "it will not know that it was away"
            )
            yield
        finally:
            woken = [name for name in self._alive(context) if not context.resume(name, record.index)]
            if woken:
                record.doubt = f"{', '.join(woken)} did not stand still until its end"
