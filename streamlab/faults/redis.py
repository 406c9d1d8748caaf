"""What can be done to a running Redis: its clients are cut off or not served, or it stands still altogether."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta
from redis.exceptions import RedisError

from streamlab.errors import UnsupportedError
from streamlab.faults.base import ALL, PRODUCER, Fault, RunContext, TargetedFault
from streamlab.history.fault_record import FaultRecord
from streamlab.schema import Positive
from streamlab.servers import OwnServer

#: From then on a server answers BUSY while a script runs.
_BUSY_S = 5.0
_LOOK_S = 0.05  # how long somebody waits for an answer that must not come

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
class RedisFault(Fault, family="redis"):
    """The base of faults of the server itself, which must be the lab's own."""

    def check(self, context: RunContext) -> None:
        self.server(context)
        super().check(context)

    def server(self, context: RunContext) -> OwnServer:
        """Return the run's server, if it is the lab's own."""
        if not isinstance(context.server, OwnServer):
            raise UnsupportedError(
                f"{type(self).__name__}: somebody else's Redis ({context.server.safe_url}) is left alone: "
                "use --server process or container"
            )
        return context.server

    def ready(self, context: RunContext, record: FaultRecord) -> bool:
        return bool(context.client.ping())  # not while another fault has it down


def connections(context: RunContext, target: str = ALL) -> list[str]:
    """The IDs of the connections of one process of the run, or of all; each is called by stream and process.

    A worker has several: for reading, for its heartbeats, for each of its threads.
    """
    processes = [*context.workers(), PRODUCER] if target == ALL else [target]
    rows: Any = context.client.client_list()
    names = {f"{context.stream}/{process}" for process in processes}
    return [row["id"] for row in rows if row["name"].removesuffix("-twin") in names]


@dataclass(frozen=True)
class KillClients(RedisFault, TargetedFault, kind="kill-clients", others=(PRODUCER,)):
    """CLIENT KILL: Redis closes all connections of a process, in the middle of whatever it has asked.

    `hit` counts connections. `target` may be "producer"; "all" means the producer too.
    """

    def ready(self, context: RunContext, record: FaultRecord) -> bool:
        return bool(connections(context, self.target))

    def strike(self, context: RunContext, record: FaultRecord) -> Iterator[None]:
        with context.client.pipeline(transaction=False) as ask:
            for number in connections(context, self.target):
                ask.client_kill_filter(_id=number)
            record.hit = sum(ask.execute())  # those that were still there
        whom = "all workers and the producer" if self.target == ALL else record.whom
        record.said = f"Redis closed {record.hit} connection(s) of {whom} (CLIENT KILL)"
        yield


@dataclass(frozen=True, kw_only=True)
class Standstill(RedisFault, blocks_redis=True, state="stands still"):
    """The base of faults during which Redis answers nobody. `hit` counts the run's connections.

    Args:
        seconds: how long.
    """

    seconds: Positive

    def ready(self, context: RunContext, record: FaultRecord) -> bool:
        return bool(connections(context))  # somebody must be kept waiting, which is not at once after a restart

    def _doubt(self, context: RunContext, began: float) -> str:
        """Ask for something that would be a write: who is answered within the time was not made to wait."""
        patience = min(_LOOK_S, self.seconds / 2)
        try:
            with context.server.client(socket_timeout=patience, socket_connect_timeout=patience) as client:
                client.delete(f"{context.stream}:none")
        except RedisError:
            return ""
        return "Redis answered all the same" if time.monotonic() - began < self.seconds else ""


@dataclass(frozen=True, kw_only=True)
class PauseClients(Standstill, kind="pause-clients"):
    """CLIENT PAUSE: Redis takes commands and leaves them lying, as it does during a failover.

    Args:
        mode: "WRITE" (reading is served, but XREADGROUP writes, too) or "ALL".
    """

    mode: Literal["WRITE", "ALL"] = "WRITE"

    def strike(self, context: RunContext, record: FaultRecord) -> Iterator[None]:
        record.hit, began = len(connections(context)), time.monotonic()
        what = "commands that write" if self.mode == "WRITE" else "all commands"
        record.said = f"Redis lets {what} wait for {self.seconds:g} s (CLIENT PAUSE)"
        try:
            context.client.client_pause(round(self.seconds * 1000), all=self.mode == "ALL")
            record.doubt = self._doubt(context, began)
            yield
        finally:
            # Where everybody is paused this client is, too, and waits until the time is over.
            with context.server.client(socket_timeout=None) as client:
                client.client_unpause()


@dataclass(frozen=True, kw_only=True)
class SleepRedis(Standstill, kind="redis-sleep"):
    """A long command: a script keeps Redis busy, and as it does one thing at a time, everybody waits.

    A standstill that needs no permission: any client can do this to any Redis. The seconds are of the server's
    processor time; on a busy machine it takes longer. They are less than 5: after that Redis would answer everybody
    BUSY, which is another fault.
    """

    seconds: Annotated[float, Meta(gt=0, lt=_BUSY_S, description="less than 5: then Redis says BUSY, use redis-freeze")]

    def check(self, context: RunContext) -> None:
        super().check(context)
        took: Any = context.client.eval(_LONG_SCRIPT, 0, 0.001, _FEW)
        if float(took) <= 0:
            raise UnsupportedError(
                f"SleepRedis: in {context.server.name} the clock stands still for a script: use redis-freeze"
            )

    def strike(self, context: RunContext, record: FaultRecord) -> Iterator[None]:
        record.hit = len(connections(context))
        record.said = f"Redis is busy with one script for {self.seconds:g} s: everybody waits"
        with context.server.client(socket_timeout=10 * _BUSY_S) as client:
            line: Any = client.connection_pool.get_connection()
            try:
                line.send_command("EVAL", _LONG_SCRIPT, 0, self.seconds, _MANY)
                yield
                line.read_response()
            finally:
                line.disconnect()


@dataclass(frozen=True, kw_only=True)
class FreezeRedis(Standstill, kind="redis-freeze"):
    """SIGSTOP of the server: connections stay open, and nobody answers; a machine that swaps, a paused container."""

    def strike(self, context: RunContext, record: FaultRecord) -> Iterator[None]:
        record.hit, began = len(connections(context)), time.monotonic()
        record.said = f"Redis stands still for {self.seconds:g} s (SIGSTOP)"
        server = self.server(context)
        try:
            server.pause()
            record.doubt = self._doubt(context, began)
            yield
        finally:
            server.resume()
