"""The worker that dies without a word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from streamlab.errors import UsageError
from streamlab.faults.base import Fault, Stage


@dataclass(frozen=True)
class Kill(Fault):
    """SIGKILL a worker while it holds a message, as the kernel does when memory runs out.

    Args:
        target: the worker's name, "worker-1" and so on.
        at: seconds after the first job is due. It strikes at the first moment from then on at which the target has
            enough pending entries, but no more than 2 s later.
        holding: how many entries are enough; killing an idle worker would show nothing.
        restart_after: seconds until a new process takes the worker's name; None: it stays dead.
    """

    kind: ClassVar[str] = "kill"
    target: str
    restart_after: float | None = None
    holding: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.restart_after is not None and not 0 <= self.restart_after < float("inf"):
            raise UsageError(f"fault 'kill': restart_after={self.restart_after} must be seconds, 0 or more")

        if not isinstance(self.holding, int) or self.holding < 1:
            raise UsageError(f"fault 'kill': holding={self.holding!r} must be a whole number of entries, 1 or more")

    def check(self, stage: Stage) -> None:
        """The target must be one of the workers."""
        if self.target not in stage.workers():
            raise UsageError(f"fault 'kill': no worker is called {self.target!r}; there are: {_names(stage)}")

    def ready(self, stage: Stage) -> bool:
        """When the target holds something; it is stopped for the look, so that what is seen stays true."""
        if not stage.alive(self.target):
            return False
        stage.freeze(self.target)
        stage.pending(self.target)  # behind this answer, an XACK that was on its way has arrived
        if stage.pending(self.target) >= self.holding:
            return True
        stage.thaw(self.target)
        return False

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


def _names(stage: Stage) -> str:
    return ", ".join(stage.workers())
