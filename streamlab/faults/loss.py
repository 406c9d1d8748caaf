"""How a Redis loses what it held: it ends and comes back with what it had kept, or somebody flushes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, get_args

from streamlab.errors import UnsupportedError, UsageError
from streamlab.faults.base import Stage, positive
from streamlab.faults.look import gone, look
from streamlab.faults.redis import RedisFault, connections
from streamlab.servers.own import How


@dataclass(frozen=True)
class RestartRedis(RedisFault):
    """Redis ends by a signal, and is started again on the data that it left.

    What it lost follows from the signal and its persistence: by SIGKILL without an append-only file everything, by
    SIGTERM with snapshots nothing. SIGKILL is no power cut: what Redis had handed to the kernel survives, whatever
    `appendfsync` says; see `CutAppendOnlyFile`.

    Args:
        at: seconds after the first job is due.
        how: "KILL" (SIGKILL) or "TERM" (SIGTERM: it may save, as its persistence says).
        seconds: how long it is down.
    """

    kind: ClassVar[str] = "redis-restart"
    suffers: ClassVar[str] = "restarted"

    how: str = field(default="KILL", kw_only=True)
    seconds: float = field(default=0.5, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "seconds")
        if self.how not in get_args(How):
            raise UsageError(f"fault 'redis-restart': how={self.how!r}, expected KILL or TERM")

    def start(self, stage: Stage) -> dict[str, Any]:
        """Look at what there is, and end it; `hit` counts the run's connections."""
        hit = len(connections(stage))
        self.remember(look(stage))
        if self.how == "KILL":
            self.server(stage).kill()
        else:
            self.server(stage).terminate()
        return {"hit": hit, "how": self.how, "persistence": stage.server.persistence, "length": self.kept.length}

    def ends_after(self) -> float | None:
        """When it is started again."""
        return self.seconds

    def stop(self, stage: Stage) -> dict[str, Any]:
        """Start it, and look at what is left."""
        self.server(stage).restart()
        return gone(stage, self.kept)

    def said(self, facts: Mapping[str, Any]) -> str:
        """Down, and for how long."""
        kept = facts["persistence"]
        return f"Redis ended (SIG{self.how}, persistence {kept}) with {facts['length']} entries, for {self.seconds:g} s"


@dataclass(frozen=True)
class FlushAll(RedisFault):
    """FLUSHALL: every key is gone, the stream and the group with them.

    Args:
        at: seconds after the first job is due; it waits until something is unfinished, for 2 s at most.
    """

    kind: ClassVar[str] = "flushall"
    suffers: ClassVar[str] = "flushed"

    def ready(self, stage: Stage) -> bool:
        """When there is something to lose."""
        return look(stage).unfinished > 0

    def start(self, stage: Stage) -> dict[str, Any]:
        """Flush; `hit` counts what was unfinished, `length` all entries."""
        found = look(stage, "FLUSHALL")
        return {"hit": found.unfinished, "entries": found.entries, "length": found.length}

    def said(self, facts: Mapping[str, Any]) -> str:
        """What was lost."""
        return f"FLUSHALL: {facts['length']} entries are gone, {facts['hit']} of them unfinished"


@dataclass(frozen=True)
class CutAppendOnlyFile(RedisFault):
    """A *simulated* power cut: SIGKILL, then the end of the append-only file is cut off, then Redis is started again.

    No process can cut its machine's power, and after SIGKILL alone the kernel still writes everything. So the end of
    the file is taken away as if it had never reached the disk. With "aof-always" that is a disk that lied.

    Args:
        at: seconds after the first job is due.
        seconds: everything that Redis writes from `at` on, for so long, is lost; then the power is cut.
        size: or: the power is cut at `at`, and so many bytes are lost, the last command torn in two, perhaps.
    """

    kind: ClassVar[str] = "aof-cut"
    suffers: ClassVar[str] = "cut short"

    seconds: float | None = field(default=None, kw_only=True)
    size: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.seconds is None) == (self.size is None):
            raise UsageError("fault 'aof-cut': say either seconds or size")
        positive(self, "seconds" if self.size is None else "size")
        if self.size is not None and not isinstance(self.size, int):
            raise UsageError(f"fault 'aof-cut': size={self.size!r} must be a whole number of bytes")

    def check(self, stage: Stage) -> None:
        """There must be an append-only file."""
        super().check(stage)
        if not stage.server.persistence.startswith("aof-"):
            raise UnsupportedError(
                f"fault 'aof-cut': with persistence {stage.server.persistence!r} Redis writes no append-only file: "
                "set persistence = 'aof-everysec' in the experiment"
            )

    def start(self, stage: Stage) -> dict[str, Any]:
        """See how long the file is now."""
        self.remember(self.server(stage).append_only_size())
        return {"simulated": "power cut", "persistence": stage.server.persistence}

    def ends_after(self) -> float | None:
        """When the power is cut, and is back at once."""
        return self.seconds or 0.0

    def stop(self, stage: Stage) -> dict[str, Any]:
        """Cut; `hit` counts the bytes."""
        before, server = look(stage), self.server(stage)
        server.kill()
        cut = server.cut_append_only(self.size, keep=self.kept)
        server.restart()
        return {"hit": cut, "length": before.length} | gone(stage, before)

    def said(self, facts: Mapping[str, Any]) -> str:
        """What will be lost."""
        what = f"the last {self.size} bytes" if self.size else f"what Redis writes in the next {self.seconds:g} s"
        return f"a simulated power cut: {what} will not be on the disk"
