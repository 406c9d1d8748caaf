"""What can be done to a worker's process: it dies without a word, or it stands still and comes back as a zombie."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from streamlab.errors import UsageError
from streamlab.faults.base import Fault, Stage


@dataclass(frozen=True)
class WorkerFault(Fault):
    """The base of faults that hit one worker while it holds messages; to hit an idle one would show nothing.

    It strikes at the first moment from `at` on at which `target` has at least `holding` pending entries, and no more
    than 2 s later. The worker is stopped for the look, so that what was seen is still true when the fault strikes.
    """

    target: str
    holding: int = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.holding, bool) or not isinstance(self.holding, int) or self.holding < 1:
            raise UsageError(f"fault {self.kind!r}: holding={self.holding!r} must be a whole number, 1 or more")

    def check(self, stage: Stage) -> None:
        """The target must be one of the workers."""
        names = stage.workers()
        if self.target not in names:
            raise UsageError(f"fault {self.kind!r}: no worker is called {self.target!r}; there are: {', '.join(names)}")

    def ready(self, stage: Stage) -> bool:
        """When the target holds enough. It then stands still, and `start` follows."""
        if not stage.alive(self.target):
            return False
        stage.freeze(self.target)
        stage.pending(self.target)  # behind this answer, an XACK that was on its way has arrived
        if stage.pending(self.target) >= self.holding:
            return True
        stage.thaw(self.target)
        return False


@dataclass(frozen=True)
class Kill(WorkerFault):
    """SIGKILL a worker while it holds messages, as the kernel does when memory runs out.

    Args:
        target: the worker's name, "worker-1" and so on.
        at: seconds after the first job is due, at the earliest; see `WorkerFault`.
        restart_after: seconds until a new process takes the worker's name; None: it stays dead.
        holding: how many pending entries it must have.
    """

    kind: ClassVar[str] = "kill"
    restart_after: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.restart_after is not None and not 0 <= self.restart_after < float("inf"):
            raise UsageError(f"fault 'kill': restart_after={self.restart_after} must be seconds, 0 or more")

    def start(self, stage: Stage) -> dict[str, Any]:
        """Kill it, then count what it held: nothing can change that any more but a claim."""
        alive = stage.alive(self.target)
        if alive:
            stage.kill(self.target)
        return {"target": self.target, "held": stage.pending(self.target) if alive else 0}

    def ends_after(self) -> float | None:
        """When the worker is restarted."""
        return self.restart_after

    def stop(self, stage: Stage) -> None:
        """Restart it."""
        stage.spawn(self.target)


@dataclass(frozen=True)
class Pause(WorkerFault):
    """SIGSTOP a worker while it holds messages, and SIGCONT it later: a long garbage collection, a laptop's lid.

    For longer than `claim_after` it makes a zombie: others have claimed what it holds, and it goes on as if nothing had
    happened.

    Args:
        target: the worker's name, "worker-1" and so on.
        at: seconds after the first job is due, at the earliest; see `WorkerFault`.
        seconds: how long it stands still.
        holding: how many pending entries it must have.
    """

    kind: ClassVar[str] = "pause"
    seconds: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.seconds < float("inf"):
            raise UsageError(f"fault 'pause': seconds={self.seconds} must be more than 0")

    def start(self, stage: Stage) -> dict[str, Any]:
        """Stop it."""
        alive = stage.alive(self.target)
        if alive:
            stage.freeze(self.target)
        return {"target": self.target, "held": stage.pending(self.target) if alive else 0}

    def ends_after(self) -> float | None:
        """When it goes on."""
        return self.seconds

    def stop(self, stage: Stage) -> None:
        """Let it go on."""
        if stage.alive(self.target):
            stage.thaw(self.target)
