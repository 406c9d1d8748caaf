"""What people do to a stream and a group that are in use: trimming, deleting, setting back, a name used twice.

All of it is done to the run's own stream, and so on somebody else's Redis too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from redis.exceptions import NoPermissionError, ResponseError

from streamlab.errors import UnsupportedError, UsageError
from streamlab.faults.base import ALL, Family, Fault, Stage, check_target, positive, targets
from streamlab.faults.look import LISTED, Look, look

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
class OperatorFault(Fault):
    """The base of faults of the operator. They are over at once, and nobody sets them right."""

    family: ClassVar[Family] = "operator"
    #: A command that it needs, in a form that changes nothing where the key does not exist.
    command: ClassVar[tuple[str, ...]]

    def check(self, stage: Stage) -> None:
        """The server must know the command, and let us."""
        ask: Any = stage.client.execute_command
        try:
            ask(*(part.format(key=f"{stage.stream}:none") for part in self.command))
        except ResponseError as error:
            if isinstance(error, NoPermissionError) or "unknown" in str(error).lower():
                raise UnsupportedError(
                    f"fault {self.kind!r}: {stage.server.description} refuses {self.command[0]} ({error}): "
                    "use --server process or container"
                ) from error


@dataclass(frozen=True)
class Trim(OperatorFault):
    """XTRIM: the old end of the stream is cut off, and reaches what is not finished.

    It waits until something unfinished is there to be cut, for 2 s at most. Pending entries stay pending, but nobody
    can read them any more.

    Args:
        at: seconds after the first job is due.
        keep: entries that are left (XTRIM MAXLEN); None: only the oldest pending one goes, with all before it (MINID).
    """

    kind: ClassVar[str] = "trim"
    command: ClassVar[tuple[str, ...]] = ("XTRIM", "{key}", "MINID", "=", "1-0")

    keep: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keep is not None and (isinstance(self.keep, bool) or not isinstance(self.keep, int) or self.keep < 0):
            raise UsageError(f"fault 'trim': keep={self.keep!r} must be a number of entries, 0 or more")

    def ready(self, stage: Stage) -> bool:
        """When something unfinished would be cut off."""
        below = self._below(stage)
        return bool(below) and look(stage, upto=f"({below}").unfinished > 0

    def start(self, stage: Stage) -> dict[str, Any]:
        """Trim; `hit` counts what was unfinished."""
        facts: dict[str, Any] = {"hit": 0, "entries": []}
        for _ in range(_TRIES):
            if not (below := self._below(stage)):
                break
            found = look(stage, "XTRIM", stage.stream, "MINID", "=", below, upto=f"({below}")
            facts = {"hit": found.unfinished, "entries": found.entries, "below": below}
            if found.unfinished:
                break  # else its holder was quicker with its XACK, and the next is the oldest now
        return facts

    def _below(self, stage: Stage) -> str:
        """The ID below which all goes; '' for nothing."""
        if self.keep is None:
            rows: Any = stage.client.xpending_range(stage.stream, stage.group, min="-", max="+", count=1)
            return _next_id(rows[0]["message_id"]) if rows else ""
        rows = stage.client.xrevrange(stage.stream, count=self.keep or 1)
        if self.keep:
            return str(rows[-1][0]) if len(rows) == self.keep else ""
        return _next_id(rows[0][0]) if rows else ""

    def said(self, facts: Mapping[str, Any]) -> str:
        """What went."""
        return f"XTRIM below {facts.get('below', 'nothing')}: {facts['hit']} unfinished entries are gone"


@dataclass(frozen=True)
class Delete(OperatorFault):
    """XDEL of pending entries. It waits until there are as many, for 2 s at most.

    Whoever holds such an entry can still finish it; but when its holder dies nobody can read it again.

    Args:
        target: whose: a worker's name, or "one", "oldest" (of the owner of the oldest one), "all" (anybody's).
        at: seconds after the first job is due.
        count: how many, the oldest first.
    """

    kind: ClassVar[str] = "delete"
    command: ClassVar[tuple[str, ...]] = ("XDEL", "{key}", "1-0")

    target: str = "all"
    count: int = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.count, bool) or not isinstance(self.count, int) or not 1 <= self.count <= LISTED:
            raise UsageError(f"fault 'delete': count={self.count!r} must be a whole number from 1 to {LISTED}")

    def check(self, stage: Stage) -> None:
        """The target must be one of the workers."""
        super().check(stage)
        check_target(self, stage)

    def ready(self, stage: Stage) -> bool:
        """When there is enough to delete."""
        return sum(len(self._ask(stage, "look", name)) for name in targets(self.target, stage)) >= self.count

    def start(self, stage: Stage) -> dict[str, Any]:
        """Delete them, if they are still pending."""
        entries = self._ask(stage, "delete", self.target)
        return {"hit": len(entries), "entries": entries}

    def _ask(self, stage: Stage, what: str, name: str | None) -> list[str]:
        consumer = () if name in {ALL, "", None} else (name,)
        ask: Any = stage.client
        entries: list[str] = ask.eval(_DELETE_PENDING, 1, stage.stream, stage.group, self.count, what, *consumer)
        return entries

    def said(self, facts: Mapping[str, Any]) -> str:
        """What went."""
        return f"XDEL of {facts['hit']} pending entries of {facts['target'] or 'nobody'}"


@dataclass(frozen=True)
class SetID(OperatorFault):
    """XGROUP SETID: the group's cursor is moved, to the end or to the beginning.

    Args:
        at: seconds after the first job is due; forward it waits until something is undelivered, for 2 s at most.
        to: "$" skips what is not delivered yet; "0" delivers all that the stream holds once more.
    """

    kind: ClassVar[str] = "set-id"
    command: ClassVar[tuple[str, ...]] = ("XGROUP", "SETID", "{key}", "g", "0")

    to: str = field(default="$", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.to not in ("$", "0"):
            raise UsageError(f"fault 'set-id': to={self.to!r}, expected '$' or '0'")

    def ready(self, stage: Stage) -> bool:
        """When there is something to skip, or to repeat."""
        return self._met(look(stage)) > 0

    def start(self, stage: Stage) -> dict[str, Any]:
        """Move it; `skipped` lists what will not be delivered, `hit` counts that, or what is delivered again."""
        found = look(stage, "XGROUP", "SETID", stage.stream, stage.group, self.to)
        return {"hit": self._met(found), "to": self.to} | ({"skipped": found.unread} if self.to == "$" else {})

    def _met(self, found: Look) -> int:
        return found.undelivered if self.to == "$" else found.length - found.undelivered

    def said(self, facts: Mapping[str, Any]) -> str:
        """What follows."""
        what = "are skipped" if self.to == "$" else "will be delivered again"
        return f"XGROUP SETID {self.to}: {facts['hit']} entries {what}"


@dataclass(frozen=True)
class DestroyGroup(OperatorFault):
    """XGROUP DESTROY: the group is gone, with its cursor and all pending entries lists; the stream stays.

    Args:
        at: seconds after the first job is due; it waits until something is pending, for 2 s at most.
    """

    kind: ClassVar[str] = "destroy-group"
    command: ClassVar[tuple[str, ...]] = ("XGROUP", "DESTROY", "{key}", "g")

    def ready(self, stage: Stage) -> bool:
        """When something is pending."""
        return look(stage).pending > 0

    def start(self, stage: Stage) -> dict[str, Any]:
        """Destroy it; `hit` counts what was pending."""
        found = look(stage, "XGROUP", "DESTROY", stage.stream, stage.group)
        return {"hit": found.pending, "entries": list(found.held)}

    def said(self, facts: Mapping[str, Any]) -> str:
        """What is forgotten."""
        return f"XGROUP DESTROY: the group is gone, and that {facts['hit']} entries were pending is forgotten"


@dataclass(frozen=True)
class DeleteConsumer(OperatorFault):
    """XGROUP DELCONSUMER of a consumer that lives: what was pending for it is nobody's any more.

    It waits until something is pending for the target, for 2 s at most. What the worker has in its hands it can still
    finish; what it dies with is lost.

    Args:
        target: the worker's name, or "one", "all", "oldest".
        at: seconds after the first job is due.
    """

    kind: ClassVar[str] = "delete-consumer"
    command: ClassVar[tuple[str, ...]] = ("XGROUP", "DELCONSUMER", "{key}", "g", "c")

    target: str

    def check(self, stage: Stage) -> None:
        """The target must be one of the workers."""
        super().check(stage)
        check_target(self, stage)

    def ready(self, stage: Stage) -> bool:
        """When something is pending for it."""
        return any(stage.pending(name) for name in targets(self.target, stage))

    def start(self, stage: Stage) -> dict[str, Any]:
        """Delete it; `hit` counts the entries that Redis discarded."""
        names = targets(self.target, stage)
        with stage.client.pipeline(transaction=True) as ask:
            for name in names:
                ask.xpending_range(stage.stream, stage.group, min="-", max="+", count=LISTED, consumername=name)
                ask.xgroup_delconsumer(stage.stream, stage.group, name)
            replies = ask.execute()
        entries = [row["message_id"] for rows in replies[::2] for row in rows]
        return {"hit": sum(replies[1::2]), "entries": entries[:LISTED]}

    def said(self, facts: Mapping[str, Any]) -> str:
        """What is discarded."""
        who = facts["target"] or "nobody"
        return f"XGROUP DELCONSUMER {who}: {facts['hit']} pending entries are discarded"


@dataclass(frozen=True)
class TwinWorker(Fault):
    """One more process works under a worker's consumer name: both share one pending entries list, and do not know.

    Args:
        target: the worker's name, or "one", "all", "oldest".
        at: seconds after the first job is due.
        seconds: until the twin is killed; None: it works to the end of the run.
    """

    kind: ClassVar[str] = "twin"
    family: ClassVar[Family] = "operator"

    target: str
    seconds: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seconds is not None:
            positive(self, "seconds")

    def check(self, stage: Stage) -> None:
        """The target must be one of the workers."""
        check_target(self, stage)

    def start(self, stage: Stage) -> dict[str, Any]:
        """Start it; `hit` counts processes."""
        self.remember([stage.twin(name) for name in targets(self.target, stage)])
        return {"hit": len(self.kept), "processes": self.kept}

    def ends_after(self) -> float | None:
        """When it is killed."""
        return self.seconds

    def stop(self, stage: Stage) -> dict[str, Any]:
        """Kill it."""
        for name in self.kept:
            if stage.alive(name):
                stage.kill(name)
        return {}

    def said(self, facts: Mapping[str, Any]) -> str:
        """Who is doubled."""
        return f"a second process calls itself {facts['target'] or 'nobody'}"


def _next_id(entry: str) -> str:
    """The ID that follows."""
    milliseconds, _, number = entry.partition("-")
    return f"{milliseconds}-{int(number) + 1}"
