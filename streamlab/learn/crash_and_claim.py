"""The exercises of notebooks/03_crash_and_claim.ipynb: read no further before you have tried them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from redis import Redis

from streamlab.learn import scratch
from streamlab.learn.exercises import Answer, check
from streamlab.servers import Server

_PAGE = 100
_MANY = 1200  # more idle entries of one consumer than a page of a thousand


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


@check(
    "03/1",
    overdue,
    "XPENDING with IDLE reads the clock and leaves it alone; a page begins behind the last row of the one before.",
)
def who_is_overdue(answer: Answer, server: Server) -> Iterator[str]:
    """Ask with idle entries of two consumers, and fresh ones of both and of a third; they are more than a page."""
    with scratch.stream(server) as (client, stream):
        counts = {"ann": _MANY, "ben": 30, "cy": 5}
        entries = {name: scratch.deliver(client, stream, name, count) for name, count in counts.items()}
        idle = {"ann": entries["ann"][100:], "ben": entries["ben"][:7]}
        for name, ids in idle.items():
            scratch.age(client, stream, name, ids)
        before = scratch.pending(client, stream)
        said = answer(client, stream, scratch.GROUP, scratch.HOUR // 2)
        after = scratch.pending(client, stream)
    facts = [{entry: (row["consumer"], row["times_delivered"]) for entry, row in at.items()} for at in (before, after)]
    if facts[0] != facts[1]:
        yield "it changed who holds what, or how often that was delivered: an alarm only looks. XPENDING does."
    if any(after[entry]["time_since_delivered"] < row["time_since_delivered"] for entry, row in before.items()):
        yield "it set idle times back: after this look nothing is overdue any more. XPENDING leaves the clock alone."
    right = {name: len(ids) for name, ids in idle.items()}
    found = {name: count for name, count in said.items() if count}
    if found == counts:
        yield "that is all that is pending, fresh or not: the summary knows no idle time, the long form does."
    if found != right and sum(found.values()) < sum(right.values()):
        yield f"it found {sum(found.values())} of {sum(right.values())}: how does the next page begin?"
    if found != right:
        yield f"it returned {said!r}, right is {right!r}."


@check(
    "03/2",
    begin,
    "an own read brings deleted entries as IDs without fields; XACK takes them off the list, and nothing else does "
    "before somebody's XAUTOCLAIM comes by.",
)
def what_is_mine(answer: Answer, server: Server) -> Iterator[str]:
    """Ask with own entries, some deleted, with another consumer's, and with new ones, which are not asked for."""
    with scratch.stream(server) as (client, stream):
        mine, others = (scratch.deliver(client, stream, name, n) for name, n in (("me", 2 * _PAGE + 50), ("other", 10)))
        new = scratch.add(client, stream, 3)
        gone = [*mine[::20], others[0]]
        client.xdel(stream, *gone)
        said = answer(client, stream, scratch.GROUP, "me")
        held = {entry: row["consumer"] for entry, row in scratch.pending(client, stream).items()}
    left = [entry for entry in mine if entry not in gone]
    if set(held) & set(new):
        yield "it read new entries: `>` asks for those; an ID asks for one's own."
    if [entry for entry, name in held.items() if name == "other"] != others:
        yield "it took or acknowledged what another consumer holds: only your own is asked for."
    if missing := [entry for entry in left if held.get(entry) != "me"]:
        yield f"{len(missing)} entries that exist are not pending for me any more, and nobody has done their work yet."
    if any(not fields for _, fields in said):
        yield "some of these were deleted: they have an ID and no fields, and a handler cannot do anything with them."
    if [entry for entry, _ in said] != left:
        yield f"it returned {len(said)} of {len(left)} entries."
    if deleted := [entry for entry in gone if held.get(entry) == "me"]:
        yield f"{len(deleted)} deleted entries are pending still: the next restart will meet them again."


@check(
    "03/3", retire, "nothing comes between the two commands of a script; between two calls of a client anything may."
)
def nobody_loses(answer: Answer, server: Server) -> Iterator[str]:
    """Try it on a consumer with something pending, on one without, and on one that reads before any command."""
    with scratch.stream(server) as (client, stream):
        busy = scratch.deliver(client, stream, "busy", 3)
        client.xgroup_createconsumer(stream, scratch.GROUP, "done")
        said = [answer(client, stream, scratch.GROUP, name) for name in ("busy", "done")]
        rows: Any = client.xinfo_consumers(stream, scratch.GROUP)
        if set(scratch.pending(client, stream)) != set(busy):
            yield "the first consumer had three entries pending, and they are gone: nobody will ever get them."
    if "done" in {row["name"] for row in rows}:
        yield "a consumer without pending entries is still there: XGROUP DELCONSUMER."
    if "busy" not in {row["name"] for row in rows}:
        yield "the consumer that holds entries is gone; leave it where it is."
    if [bool(one) for one in said] != [False, True] or None in said:
        yield f"return whether it is gone: False for the one that holds entries, True for the other; it said {said}."

    def reads(watched: scratch.Watched, client: Redis, stream: str) -> Iterator[str]:
        read: list[str] = []
        client.xgroup_createconsumer(stream, scratch.GROUP, "quick")
        watched.happens = lambda: read.extend(scratch.deliver(client, stream, "quick", 1))
        watched.call(answer, stream, scratch.GROUP, "quick")
        if set(read) - set(scratch.pending(client, stream)):
            yield (
                "the consumer read between your look and your delete, and the message is lost: both must be one step. "
                "What can do two commands in one?"
            )

    yield from scratch.at_each_command(server, reads)
