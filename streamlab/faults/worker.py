"""What can be done to a worker's process from outside: it dies without a word, or stands still and comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from streamlab.errors import UsageError
from streamlab.faults.base import Family, Fault, Stage, check_target, is_seconds, positive, targets


@dataclass(frozen=True)
class WorkerFault(Fault):
    """The base of faults that hit a worker while it holds messages; to hit an idle one would show nothing.

    It strikes at the first moment from `at` on at which `target` has at least `holding` pending entries, and no more
    than 2 s later. The worker is stopped for the look, so that what was seen is still true when the fault strikes.
    """

    family: ClassVar[Family] = "worker"

    target: str
    holding: int = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.holding, bool) or not isinstance(self.holding, int) or self.holding < 1:
            raise UsageError(f"fault {self.kind!r}: holding={self.holding!r} must be a whole number, 1 or more")

    def check(self, stage: Stage) -> None:
        """The target must be one of the workers."""
        check_target(self, stage)

    def ready(self, stage: Stage) -> bool:
        """When the target holds enough. It then stands still, and `start` follows."""
        names = self._alive(stage)
        held = 0
        try:
            for name in names:
                stage.freeze(name, self.index)
                stage.pending(name)  # behind this answer, an XACK that was on its way has arrived
                held += stage.pending(name)
        finally:
            if held < self.holding:
                for name in names:
                    stage.thaw(name, self.index)
        return held >= self.holding

    def said(self, facts: Mapping[str, Any]) -> str:
        """What was done to whom, and what it held."""
        return f"{self._did(facts['target'] or 'nobody')} while it held {facts['held']} message(s)"

    def _alive(self, stage: Stage) -> list[str]:
        return [name for name in targets(self.target, stage) if stage.alive(name)]

    def _did(self, target: str) -> str:
        raise NotImplementedError


@dataclass(frozen=True)
class Kill(WorkerFault):
    """SIGKILL a worker while it holds messages, as the kernel does when memory runs out.

    Args:
        target: the worker's name, "worker-1" and so on, or "one", "all", "oldest".
        at: seconds after the first job is due, at the earliest; see `WorkerFault`.
        restart_after: seconds until a new process takes the worker's name; None: it stays dead.
        holding: how many pending entries it must have.
    """

    kind: ClassVar[str] = "kill"
    restart_after: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.restart_after is not None and not is_seconds(self.restart_after):
            raise UsageError(f"fault 'kill': restart_after={self.restart_after!r} must be seconds, 0 or more")

    def start(self, stage: Stage) -> dict[str, Any]:
        """Kill it, then count what it held: nothing can change that any more but a claim."""
        names = self._alive(stage)
        for name in names:
            stage.kill(name)
        survivors = self._alive(stage)
        facts = {"target": self.target, "held": sum(stage.pending(name) for name in names)}
        return facts | ({"doubt": f"{', '.join(survivors)} survived it"} if survivors else {})

    def ends_after(self) -> float | None:
        """When the worker is restarted."""
        return self.restart_after if self.restart_after != 0 else 1e-9

    def stop(self, stage: Stage) -> dict[str, Any]:
        """Restart it."""
        for name in targets(self.target, stage):
            if not stage.alive(name):
                stage.spawn(name)
        return {}

    def said(self, facts: Mapping[str, Any]) -> str:
        """Killed, and what follows from it."""
        return f"{super().said(facts)}: they stay pending, until somebody claims them"

    def _did(self, target: str) -> str:
        return f"killed {target} (SIGKILL)"


@dataclass(frozen=True)
class Pause(WorkerFault):
    """SIGSTOP a worker while it holds messages, and SIGCONT it later: a long garbage collection, a laptop's lid.

    For longer than `claim_after` it makes a zombie: others have claimed what it holds, and it goes on as if nothing had
    happened.

    Args:
        target: the worker's name, "worker-1" and so on, or "one", "all", "oldest".
        at: seconds after the first job is due, at the earliest; see `WorkerFault`.
        seconds: how long it stands still.
        holding: how many pending entries it must have.
    """

    kind: ClassVar[str] = "pause"
    seconds: float

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "seconds")

    def start(self, stage: Stage) -> dict[str, Any]:
        """Stop it."""
        names = self._alive(stage)
        for name in names:
            stage.freeze(name, self.index)
        return {"target": self.target, "held": sum(stage.pending(name) for name in names)}

    def ends_after(self) -> float | None:
        """When it goes on."""
        return self.seconds

    def stop(self, stage: Stage) -> dict[str, Any]:
        """Let it go on, if it has not gone on already."""
        woken = [name for name in self._alive(stage) if not stage.thaw(name, self.index)]
        return {"doubt": f"{', '.join(woken)} did not stand still until its end"} if woken else {}

    def said(self, facts: Mapping[str, Any]) -> str:
        """Stopped, and what follows from it."""
        return f"{super().said(facts)}: it will not know that it was away"

    def _did(self, target: str) -> str:
        return f"stopped {target} (SIGSTOP) for {self.seconds:g} s"
