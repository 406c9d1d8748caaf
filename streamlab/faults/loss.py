"""How a Redis loses what it held: it ends and comes back with what it had kept, or somebody flushes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from streamlab.errors import UnsupportedError
from streamlab.faults.base import RunContext
from streamlab.faults.look import gone, look
from streamlab.faults.redis import RedisFault, connections
from streamlab.history.fault_record import FaultRecord
from streamlab.schema import Count, Positive
from streamlab.servers.own import How


@dataclass(frozen=True, kw_only=True)
class RestartRedis(RedisFault, kind="redis-restart"):
    """Redis ends by a signal, and is started again on the data that it left. `hit` counts the run's connections.

    What it lost follows from the signal and its persistence: by SIGKILL without an append-only file everything, by
    SIGTERM with snapshots nothing. SIGKILL is no power cut: what Redis had handed to the kernel survives, whatever
    `appendfsync` says; see `CutAppendOnlyFile`.

    Args:
        how: "KILL" (SIGKILL) or "TERM" (SIGTERM: it may save, as its persistence says).
        seconds: how long it is down.
    """

    how: How = "KILL"
    seconds: Positive = 0.5

    def strike(self, context: RunContext, record: FaultRecord) -> Iterator[None]:
        record.hit, before = len(connections(context)), look(context)
        record.said = (
            f"Redis ended (SIG{self.how}, persistence {context.server.persistence}) with {before.length} entries, "
            f"for {self.seconds:g} s"
        )
        server = self.server(context)
        try:
            if self.how == "KILL":
                server.kill()
            else:
                server.terminate()
            yield
        finally:
            server.restart()
        record.lost, record.entries = gone(context, before)


@dataclass(frozen=True)
class FlushAll(RedisFault, kind="flushall"):
    """FLUSHALL: every key is gone, the stream and the group with them. `hit` counts what was unfinished.

    It waits until something is, for 2 s at most.
    """

    def ready(self, context: RunContext, record: FaultRecord) -> bool:
        return look(context).unfinished > 0

    def strike(self, context: RunContext, record: FaultRecord) -> Iterator[None]:
        found = look(context, "FLUSHALL")
        record.hit, record.entries = found.unfinished, found.entries
        record.said = f"FLUSHALL: {found.length} entries are gone, {found.unfinished} of them unfinished"
        yield


@dataclass(frozen=True, kw_only=True)
class CutAppendOnlyFile(RedisFault, kind="aof-cut"):
    """A *simulated* power cut: SIGKILL, then the end of the append-only file is cut off, then Redis is started again.

    No process can cut its machine's power, and after SIGKILL alone the kernel still writes everything. So the end of
    the file is taken away as if it had never reached the disk. With "aof-always" that is a disk that lied. `hit` counts
    the bytes.

    Args:
        size: bytes that are lost; the last command that is left may be torn in two.
    """

    size: Count

    def check(self, context: RunContext) -> None:
        super().check(context)
        if not context.server.persistence.startswith("aof-"):
            raise UnsupportedError(
                f"CutAppendOnlyFile: with persistence {context.server.persistence!r} Redis writes no append-only file: "
                "set persistence = 'aof-everysec' in the experiment"
            )

    def strike(self, context: RunContext, record: FaultRecord) -> Iterator[None]:
        server = self.server(context)
        record.said = f"a simulated power cut ({server.persistence}): the last {self.size} bytes are not on the disk"
        yield
        before = look(context)
        server.kill()
        record.hit = server.cut_append_only(self.size)
        server.restart()
        record.lost, record.entries = gone(context, before)
