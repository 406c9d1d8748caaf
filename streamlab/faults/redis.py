"""What can be done to a running Redis: its clients are cut off or not served, or it stands still altogether."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from redis.exceptions import RedisError

from streamlab.errors import UnsupportedError, UsageError
from streamlab.faults.base import ALL, Family, Fault, Stage, check_target, positive
from streamlab.servers import OwnServer

#: From then on a server answers BUSY while a script runs.
_BUSY_S = 5.0
_LOOK_S = 0.05  # so long somebody waits for an answer that must not come

# ARGV[1] seconds, ARGV[2] rounds at most. Redis has stopped the clock of TIME inside a script since 7.2, and has given
# scripts another one since 7.4, which counts the server's processor time. Returns the seconds that it took.
_LONG_SCRIPT = """
local now = function() local time = redis.call('TIME') return time[1] + time[2] / 1e6 end
local found, clock = pcall(function() return os.clock end)
if found and clock then now = clock end
local start, rounds = now(), 0
repeat rounds = rounds + 1 until now() - start >= tonumber(ARGV[1]) or rounds >= tonumber(ARGV[2])
return tostring(now() - start)
"""
_FEW, _MANY = 100_000, 10**15


@dataclass(frozen=True)
class RedisFault(Fault):
    """The base of faults of the server itself, which must be the lab's own."""

    family: ClassVar[Family] = "redis"
    #: What somebody else's Redis is never made to suffer.
    suffers: ClassVar[str]

    def check(self, stage: Stage) -> None:
        """Somebody else's Redis is left alone."""
        self.server(stage)

    def server(self, stage: Stage) -> OwnServer:
        """The run's server; somebody else's is refused."""
        if not isinstance(stage.server, OwnServer):
            raise UnsupportedError(
                f"fault {self.kind!r}: somebody else's Redis ({stage.server.safe_url}) is never {self.suffers}: "
                "use --server process or container"
            )
        return stage.server

    def ready(self, stage: Stage) -> bool:
        """When Redis answers, which it does not while another fault has it down."""
        return bool(stage.client.ping())


@dataclass(frozen=True)
class Standstill(RedisFault):
    """The base of faults during which Redis answers nobody. Nothing else can begin meanwhile."""

    stills: ClassVar[bool] = True

    seconds: float

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "seconds")

    def ready(self, stage: Stage) -> bool:
        """When there is somebody to be kept waiting, which is not at once after a restart."""
        return bool(connections(stage))

    def ends_after(self) -> float | None:
        """When everybody is served again."""
        return self.seconds

    def doubt(self, stage: Stage, began: float) -> dict[str, Any]:
        """Ask for something that would be a write: who is answered within the time was not made to wait."""
        try:
            patience = min(_LOOK_S, self.seconds / 2)
            with stage.server.client(socket_timeout=patience, socket_connect_timeout=patience) as client:
                client.delete(f"{stage.stream}:none")
        except RedisError:
            return {}
        return {"doubt": "Redis answered all the same"} if time.monotonic() - began < self.seconds else {}


def connections(stage: Stage, target: str = ALL) -> list[str]:
    """The IDs of the connections of one process of the run, or of all; each is called by stream and process.

    A worker has several: for reading, for its signs of life, for each of its threads.
    """
    processes = [*stage.workers(), "producer"] if target == ALL else [target]
    rows: Any = stage.client.client_list()
    names = {f"{stage.stream}/{process}" for process in processes}
    return [row["id"] for row in rows if row["name"].removesuffix("-twin") in names]


@dataclass(frozen=True)
class KillClients(RedisFault):
    """CLIENT KILL: Redis closes all connections of a process, in the middle of whatever it has asked.

    Args:
        target: a worker's name, "producer", or "one", "all" (the producer too), "oldest".
        at: seconds after the first job is due.
    """

    kind: ClassVar[str] = "kill-clients"
    suffers: ClassVar[str] = "told to drop its clients"

    target: str

    def check(self, stage: Stage) -> None:
        """The target must be somebody."""
        super().check(stage)
        check_target(self, stage, "producer")

    def ready(self, stage: Stage) -> bool:
        """When there is a connection."""
        return bool(connections(stage, self.target))

    def start(self, stage: Stage) -> dict[str, Any]:
        """Close them; `hit` counts those that were still there."""
        with stage.client.pipeline(transaction=False) as ask:
            for number in connections(stage, self.target):
                ask.client_kill_filter(_id=number)
            return {"hit": sum(ask.execute())}

    def said(self, facts: Mapping[str, Any]) -> str:
        """Whose connections."""
        return f"Redis closed {facts['hit']} connection(s) of {facts['target'] or 'nobody'} (CLIENT KILL)"


@dataclass(frozen=True)
class PauseClients(Standstill):
    """CLIENT PAUSE: Redis takes commands and leaves them lying, as it does during a failover.

    Args:
        at: seconds after the first job is due.
        seconds: how long.
        mode: "WRITE" (reading is served, but XREADGROUP writes, too) or "ALL".
    """

    kind: ClassVar[str] = "pause-clients"
    suffers: ClassVar[str] = "paused"

    mode: str = field(default="WRITE", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mode not in ("WRITE", "ALL"):
            raise UsageError(f"fault 'pause-clients': mode={self.mode!r}, expected WRITE or ALL")

    def start(self, stage: Stage) -> dict[str, Any]:
        """Pause; `hit` counts the run's connections."""
        hit, began = len(connections(stage)), time.monotonic()
        stage.client.client_pause(round(self.seconds * 1000), all=self.mode == "ALL")
        return {"hit": hit, "mode": self.mode} | self.doubt(stage, began)

    def stop(self, stage: Stage) -> dict[str, Any]:
        """Serve them. Where everybody is paused the one who says so is, too, and waits until the time is over."""
        with stage.server.client(socket_timeout=None) as client:
            client.client_unpause()
        return {}

    def said(self, facts: Mapping[str, Any]) -> str:
        """Who waits."""
        what = "commands that write" if self.mode == "WRITE" else "all commands"
        return f"Redis lets {what} wait for {self.seconds:g} s (CLIENT PAUSE)"


@dataclass(frozen=True)
class SleepRedis(Standstill):
    """A long command: a script keeps Redis busy, and as it does one thing at a time, everybody waits.

    A standstill that needs no permission: any client can do this to any Redis. The seconds are of the server's
    processor time; on a busy machine it takes longer. `slept` tells how long it was.

    Args:
        at: seconds after the first job is due.
        seconds: how long, less than 5: after that Redis would answer everybody BUSY, which is another fault.
    """

    kind: ClassVar[str] = "redis-sleep"
    suffers: ClassVar[str] = "kept busy"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seconds >= _BUSY_S:
            raise UsageError(
                f"fault 'redis-sleep': seconds={self.seconds:g} must be less than {_BUSY_S:g}, when Redis begins to "
                "answer BUSY: use redis-freeze"
            )

    def check(self, stage: Stage) -> None:
        """A script needs a clock that goes on while it runs."""
        super().check(stage)
        took: Any = stage.client.eval(_LONG_SCRIPT, 0, 0.001, _FEW)
        if float(took) <= 0:
            raise UnsupportedError(
                f"fault 'redis-sleep': in {stage.server.name} the clock stands still for a script: use redis-freeze"
            )

    def start(self, stage: Stage) -> dict[str, Any]:
        """Send the script, and do not wait for its answer."""
        hit = len(connections(stage))
        client = stage.server.client(socket_timeout=10 * _BUSY_S)
        line: Any = client.connection_pool.get_connection()
        self.remember((client, line))
        line.send_command("EVAL", _LONG_SCRIPT, 0, self.seconds, _MANY)
        return {"hit": hit}

    def stop(self, stage: Stage) -> dict[str, Any]:
        """Wait for the answer."""
        client, line = self.kept
        try:
            return {"slept": round(float(line.read_response()), 3)}
        finally:
            line.disconnect()
            client.close()

    def said(self, facts: Mapping[str, Any]) -> str:
        """Nobody is served."""
        return f"Redis is busy with one script for {self.seconds:g} s: everybody waits"


@dataclass(frozen=True)
class FreezeRedis(Standstill):
    """SIGSTOP of the server: connections stay open, and nobody answers; a machine that swaps, a paused container.

    Args:
        at: seconds after the first job is due.
        seconds: how long it stands still.
    """

    kind: ClassVar[str] = "redis-freeze"
    suffers: ClassVar[str] = "stopped"

    def start(self, stage: Stage) -> dict[str, Any]:
        """Stop it; `hit` counts the run's connections."""
        hit, began = len(connections(stage)), time.monotonic()
        self.server(stage).pause()
        return {"hit": hit} | self.doubt(stage, began)

    def stop(self, stage: Stage) -> dict[str, Any]:
        """Let it go on."""
        self.server(stage).resume()
        return {}

    def said(self, facts: Mapping[str, Any]) -> str:
        """Nobody is served."""
        return f"Redis stands still for {self.seconds:g} s (SIGSTOP)"
