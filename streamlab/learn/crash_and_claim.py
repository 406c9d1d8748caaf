"""The exercises of notebooks/03_crash_and_claim.ipynb: read no further before you have tried them.

1. Who holds how many entries that have been idle for too long? Looked at without touching them.
2. What a restarted worker does first, when some of its entries were deleted meanwhile.
3. Delete a consumer, unless it holds something, though it may read at any time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from redis import Redis

from streamlab.learn import scratch
from streamlab.learn.exercises import check

if TYPE_CHECKING:
    from streamlab.servers import Server

_HOUR = 3_600_000
_PAGE = 100
_MANY = 1200  # more idle entries of one consumer than a page of a thousand


class _Interrupted(Redis):
    """A client, on the connections of another; after each command that it sends, something else happens."""

    def __init__(self, client: Redis, then: Callable[[], object]) -> None:
        super().__init__(connection_pool=client.connection_pool)
        self._then = then

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send it, then let the other thing happen."""
        reply = super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        self._then()
        return reply


# ---------------------------------------------------------------------------------------------------- solutions


def overdue(client: Redis, stream: str, group: str, idle_ms: int) -> dict[str, int]:
    """Return a dict: consumer -> how many of its entries have been idle for `idle_ms`."""
    found: dict[str, int] = {}
    start = "-"
    while True:
        rows: Any = client.xpending_range(stream, group, min=start, max="+", count=100, idle=idle_ms)
        for row in rows:
            found[row["consumer"]] = found.get(row["consumer"], 0) + 1
        if not rows:
            return found
        start = "(" + rows[-1]["message_id"]


def begin(client: Redis, stream: str, group: str, me: str) -> list[tuple[str, dict[str, str]]]:
    """Return [(id, fields), ...] of my own pending entries that still exist; let the PEL forget the others."""
    reply: Any = client.xreadgroup(group, me, {stream: "0"})
    [[_, rows]] = reply
    gone = [entry for entry, fields in rows if not fields]
    if gone:
        client.xack(stream, group, *gone)
    return [(entry, fields) for entry, fields in rows if fields]


def retire(client: Redis, stream: str, group: str, consumer: str) -> bool:
    """Delete the consumer if nothing is pending for it. Return whether it is gone."""
    in_one_step = """
        if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) > 0 then return 0 end
        redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
        return 1
    """
    return bool(client.eval(in_one_step, 1, stream, group, consumer))


# ------------------------------------------------------------------------------------------------------- checks


@check(
    "03/1",
    solution=overdue,
    why="XPENDING with IDLE reads the clock and leaves it alone; a page begins behind the last row of the one before.",
)
def who_is_overdue(answer: Callable[..., Any], server: Server) -> str | None:
    """Idle entries of two consumers and fresh ones of both and of a third, more of them than a page."""
    with scratch.stream(server) as (client, stream):
        entries = {
            name: scratch.held(client, stream, name, count) for name, count in (("ann", _MANY), ("ben", 30), ("cy", 5))
        }
        idle = {"ann": entries["ann"][100:], "ben": entries["ben"][:7]}
        for name, ids in idle.items():
            scratch.age(client, stream, name, ids, _HOUR)
        before = scratch.pending(client, stream)
        said = answer(client, stream, scratch.GROUP, _HOUR // 2)
        after = scratch.pending(client, stream)
    if _owners(before) != _owners(after):
        return "it changed who holds what, or how often that was delivered: an alarm only looks. XPENDING does."
    if any(after[entry]["time_since_delivered"] < row["time_since_delivered"] for entry, row in before.items()):
        return "it set idle times back: after this look nothing is overdue any more. XPENDING leaves the clock alone."
    right = {name: len(ids) for name, ids in idle.items()}
    if not isinstance(said, dict):
        return f"a dict is asked for, it returned {type(said).__name__}."
    counts = {name: count for name, count in said.items() if count}
    if counts == {"ann": _MANY, "ben": 30, "cy": 5}:
        return "that is all that is pending, fresh or not: the summary knows no idle time, the long form does."
    if counts != right and sum(counts.values()) < sum(right.values()):
        return f"it found {sum(counts.values())} of {sum(right.values())}: how does the next page begin?"
    return None if counts == right else f"it returned {said!r}, right is {right!r}."


@check(
    "03/2",
    solution=begin,
    why="an own read brings deleted entries as IDs without fields; XACK takes them off the list, and nothing else does "
    "before somebody's XAUTOCLAIM comes by.",
)
def what_is_mine(answer: Callable[..., Any], server: Server) -> str | None:
    """Own entries, some deleted; another consumer's; and new ones, which are not asked for."""
    with scratch.stream(server) as (client, stream):
        mine = scratch.held(client, stream, "me", 2 * _PAGE + 50)
        others = scratch.held(client, stream, "other", 10)
        new: Any = [client.xadd(stream, {"job": number}) for number in range(3)]
        gone = [*mine[::20], others[0]]
        client.xdel(stream, *gone)
        said = answer(client, stream, scratch.GROUP, "me")
        held = {entry: row["consumer"] for entry, row in scratch.pending(client, stream).items()}
    left = [entry for entry in mine if entry not in gone]
    if set(held) & set(new):
        return "it read new entries: `>` asks for those; an ID asks for one's own."
    if [entry for entry, name in held.items() if name == "other"] != others:
        return "it took or acknowledged what another consumer holds: only your own is asked for."
    if missing := [entry for entry in left if held.get(entry) != "me"]:
        return f"{len(missing)} entries that exist are not pending for me any more, and nobody has done their work yet."
    if hint := _unlike(said, left):
        return hint
    if deleted := [entry for entry in gone if held.get(entry) == "me"]:
        return f"{len(deleted)} deleted entries are pending still: the next restart will meet them again."
    return None


def _unlike(said: Any, left: list[str]) -> str | None:
    """What is wrong with the list that was returned; `left` has the IDs of what exists."""
    if not isinstance(said, (list, tuple)) or not all(isinstance(row, (list, tuple)) and len(row) == 2 for row in said):
        return "a list of (id, fields) is asked for."
    if any(not fields for _, fields in said):
        return "some of these were deleted: they have an ID and no fields, and a handler cannot do anything with them."
    if [entry for entry, _ in said] != left:
        return f"it returned {len(said)} of {len(left)} entries."
    return None


@check(
    "03/3",
    solution=retire,
    why="nothing comes between the two commands of a script; between two calls of a client anything may.",
)
def nobody_loses(answer: Callable[..., Any], server: Server) -> str | None:
    """One that holds something, one that holds nothing, and one that reads as soon as it was looked at."""
    with scratch.stream(server) as (client, stream):
        busy = scratch.held(client, stream, "busy", 3)
        client.xgroup_createconsumer(stream, scratch.GROUP, "done")
        said = [answer(client, stream, scratch.GROUP, name) for name in ("busy", "done")]
        if set(scratch.pending(client, stream)) != set(busy):
            return "the first consumer had three entries pending, and they are gone: nobody will ever get them."
        rows: Any = client.xinfo_consumers(stream, scratch.GROUP)
        if "done" in {row["name"] for row in rows}:
            return "a consumer without pending entries is still there: XGROUP DELCONSUMER."
        if "busy" not in {row["name"] for row in rows}:
            return "the consumer that holds entries is gone; leave it where it is."
        if [bool(one) for one in said] != [False, True] or None in said:
            return (
                f"return whether it is gone: False for the one that holds entries, True for the other; it said {said}."
            )

        client.xgroup_createconsumer(stream, scratch.GROUP, "quick")
        read: list[str] = []
        interrupted = _Interrupted(client, lambda: read.extend(scratch.held(client, stream, "quick", 1)))
        answer(interrupted, stream, scratch.GROUP, "quick")
        if lost := set(read) - set(scratch.pending(client, stream)):
            return (
                f"the consumer read between your look and your delete, and {len(lost)} message(s) are lost: "
                "both must be one step. What can do two commands in one?"
            )
    return None


def _owners(rows: dict[str, Any]) -> Counter[tuple[str, str, int]]:
    return Counter((entry, row["consumer"], row["times_delivered"]) for entry, row in rows.items())
