"""What people do to a stream and a group that are in use: trimming, deleting, setting back, a name used twice.

All of it is done to the run's own stream, and so on somebody else's Redis too. Most of it is over at once, and nobody
sets it right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from msgspec import Meta

from streamlab.faults.base import ALL, Fault, RunContext, TargetedFault
from streamlab.faults.look import LISTED, Look, look
from streamlab.history.fault_record import FaultRecord
from streamlab.schema import CountOrZero, Positive

_TRIES = 50  # to meet a pending entry before it is acknowledged

# KEYS[1] stream. ARGV[1] group, ARGV[2] how many, ARGV[3] 'delete' or 'look', ARGV[4] consumer, or none for any.
# The IDs of pending entries that the stream still holds, the oldest first.
_DELETE_PENDING = """
local found, wanted = {}, tonumber(ARGV[2])
for _, row in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', wanted + 1000, unpack(ARGV, 4))) do
  if #found < wanted and #redis.call('XRANGE', KEYS[1], row[1], row[1]) == 1 then
    if ARGV[3] == 'delete' then redis.call('XDEL', KEYS[1], row[1]) end
    found[#found + 1] = row[1]
  end
end
return found
"""


@dataclass(frozen=True)
class Trim(Fault, kind="trim", family="operator"):
    """XTRIM: the old end of the stream is cut off, and reaches what is not finished. `hit` counts that.

    It waits until something unfinished is there to be cut, for 2 s at most. Pending entries stay pending, but nobody
    can read them any more.

    Args:
        keep: entries that are left (XTRIM MAXLEN); None: only the oldest pending one goes, with all before it (MINID).
    """

    keep: CountOrZero | None = field(default=None, kw_only=True)

    def ready(self, context: RunContext, record: FaultRecord) -> bool:
        below = self._below(context)
        return bool(below) and look(context, upto=f"({below}").unfinished > 0

    def strike(self, context: RunContext, record: FaultRecord) -> Iterator[None]:
        record.hit = 0
        for _ in range(_TRIES):
            if not (below := self._below(context)):
                break
            found = look(context, "XTRIM", context.stream, "MINID", "=", below, upto=f"({below}")
            record.hit, record.entries, record.below = found.unfinished, found.entries, below
            if found.unfinished:
                break  # else its holder was quicker with its XACK, and the next is the oldest now
        record.said = f"XTRIM below {record.below or 'nothing'}: {record.hit} unfinished entries are gone"
        yield

    def _below(self, context: RunContext) -> str:
        """The ID below which all goes; '' for nothing."""
        if self.keep is None:
            rows: Any = context.client.xpending_range(context.stream, context.group, min="-", max="+", count=1)
            return _next_id(rows[0]["message_id"]) if rows else ""
        rows = context.client.xrevrange(context.stream, count=self.keep or 1)
        if self.keep:
            return str(rows[-1][0]) if len(rows) == self.keep else ""
        return _next_id(rows[0][0]) if rows else ""


def _next_id(entry: str) -> str:
    milliseconds, _, number = entry.partition("-")
    return f"{milliseconds}-{int(number) + 1}"


@dataclass(frozen=True)
class Delete(TargetedFault, kind="delete", family="operator"):
    """XDEL of pending entries. It waits until there are as many, for 2 s at most. `hit` counts those it deleted.

    A worker that has such an entry in flight can still finish it; but when it dies nobody can read the entry again.

    Args:
        target: whose: a worker's name, or "one", "oldest" (of the owner of the oldest one), "all" (anybody's).
        count: how many, the oldest first.
    """

    target: str = "all"
    count: Annotated[int, Meta(ge=1, le=LISTED)] = field(default=1, kw_only=True)

    def ready(self, context: RunContext, record: FaultRecord) -> bool:
        return sum(len(self._ask(context, "look", name)) for name in self.targets(context)) >= self.count

    def strike(self, context: RunContext, record: FaultRecord) -> Iterator[None]:
        record.entries = self._ask(context, "delete", self.target)
        record.hit = len(record.entries)
        record.said = f"XDEL of {record.hit} pending entries of {record.whom}"
        yield

    def _ask(self, context: RunContext, what: str, name: str) -> list[str]:
        consumer = () if name in {ALL, ""} else (name,)
        ask: Any = context.client
        entries: list[str] = ask.eval(_DELETE_PENDING, 1, context.stream, context.group, self.count, what, *consumer)
        return entries


@dataclass(frozen=True)
class SetID(Fault, kind="set-id", family="operator"):
    """XGROUP SETID: the group's cursor is moved, to the end or to the beginning. `hit` counts the entries between.

    Args:
        at: seconds after the first job is due; forward it waits until something is undelivered, for 2 s at most.
        to: "$" skips what is not delivered yet; "0" delivers all that the stream holds once more.
    """

    to: Literal["$", "0"] = field(default="$", kw_only=True)

    def ready(self, context: RunContext, record: FaultRecord) -> bool:
        return self._met(look(context)) > 0

    def strike(self, context: RunContext, record: FaultRecord) -> Iterator[None]:
        found = look(context, "XGROUP", "SETID", context.stream, context.group, self.to)
        record.hit = self._met(found)
        record.skipped = found.unread[:LISTED] if self.to == "$" else []
        what = "are skipped" if self.to == "$" else "will be delivered again"
        record.said = f"XGROUP SETID {self.to}: {record.hit} entries {what}"
        yield

    def _met(self, found: Look) -> int:
        return len(found.unread) if self.to == "$" else found.length - len(found.unread)


@dataclass(frozen=True)
class DestroyGroup(Fault, kind="destroy-group", family="operator"):
    """XGROUP DESTROY: the group is gone, with its cursor and all pending entries lists; the stream stays.

    It waits until something is pending, for 2 s at most. `hit` counts that.
    """

    def ready(self, context: RunContext, record: FaultRecord) -> bool:
        return bool(look(context).held)

    def strike(self, context: RunContext, record: FaultRecord) -> Iterator[None]:
        found = look(context, "XGROUP", "DESTROY", context.stream, context.group)
        record.hit, record.entries = len(found.held), found.held[:LISTED]
        record.said = f"XGROUP DESTROY: the group is gone, and that {record.hit} entries were pending is forgotten"
        yield


@dataclass(frozen=True)
class DeleteConsumer(TargetedFault, kind="delete-consumer", family="operator"):
    """XGROUP DELCONSUMER of a consumer that lives: what was pending for it is nobody's any more. `hit` counts that.

    It waits until something is pending for the target, for 2 s at most. What the worker has in flight it can still
    finish; what it dies with is lost.
    """

    def ready(self, context: RunContext, record: FaultRecord) -> bool:
        return any(map(context.pending, self.targets(context)))

    def strike(self, context: RunContext, record: FaultRecord) -> Iterator[None]:
        stream, group = context.stream, context.group
        with context.client.pipeline(transaction=True) as ask:
            for name in self.targets(context):
                ask.xpending_range(stream, group, min="-", max="+", count=LISTED, consumername=name)
                ask.xgroup_delconsumer(stream, group, name)
            replies = ask.execute()
        record.entries = [row["message_id"] for rows in replies[::2] for row in rows][:LISTED]
        record.hit = sum(replies[1::2])
        record.said = f"XGROUP DELCONSUMER {record.whom}: {record.hit} pending entries are discarded"
        yield


@dataclass(frozen=True)
class TwinWorker(TargetedFault, kind="twin", family="operator"):
    """One more process works under a worker's consumer name: both share one pending entries list, and do not know.

    Args:
        seconds: until the twin is killed; None: it works to the end of the run.
    """

    seconds: Positive | None = field(default=None, kw_only=True)

    def strike(self, context: RunContext, record: FaultRecord) -> Iterator[None]:
        record.started = list(map(context.twin, self.targets(context)))
        record.hit = len(record.started)
        record.said = f"a second process calls itself {record.whom}"
        yield
        for name in record.started:
            if context.alive(name):
                context.kill(name)
