"""The exercises of notebooks/07_failure_matrix.ipynb: read no further before you have tried them.

1. The alarm: how many entries have been pending for too long, and in whose name?
2. Delete a consumer, unless it has something pending, though it may wake up between any two commands.
3. The loop: claim, work, acknowledge, and give up in the end.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from redis import Redis

from streamlab.learn import scratch
from streamlab.learn.exercises import check

if TYPE_CHECKING:
    from streamlab.servers import Server

_LIMIT = 60_000  # ms
_PAGE = 100
_MANY = 250  # more than a page
_TRIES = 4
_TURNS = 30


class _Woken(Redis):
    """A client, on the connections of another; before each of its XGROUP commands somebody else does something.

    What a script or a transaction does is one step, and nobody gets between its commands.
    """

    def __init__(self, client: Redis, wakes: Callable[[], object]) -> None:
        super().__init__(connection_pool=client.connection_pool)
        self._wakes = wakes

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Let the other go first."""
        if str(args[0]).upper().startswith("XGROUP"):
            self._wakes()
        return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]


# ---------------------------------------------------------------------------------------------------- solutions


def overdue(client: Redis, stream: str, group: str, idle_ms: int) -> dict[str, int]:
    """Return how many entries each consumer has had for `idle_ms` or longer; nobody without one is named."""
    found: dict[str, int] = {}
    after = "-"
    while True:
        rows: Any = client.xpending_range(stream, group, min=after, max="+", count=_PAGE, idle=idle_ms)
        if not rows:
            return found
        for row in rows:
            found[row["consumer"]] = found.get(row["consumer"], 0) + 1
        after = f"({rows[-1]['message_id']}"


def retire(client: Redis, stream: str, group: str, consumer: str) -> Any:
    """Delete the consumer if nothing is pending for it, in one step; return whether that was done."""
    script = """
    if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) > 0 then return 0 end
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
    return 1
    """
    return bool(client.eval(script, 1, stream, group, consumer))


def turn(client: Redis, stream: str, group: str, me: str, handle: Callable[[str, Any], object]) -> None:
    """Work on what has been idle for 60,000 ms and on what is new; after 4 deliveries it goes to `stream + ":dead"`."""
    rows: list[Any] = []
    cursor, first = "0-0", True
    while first or cursor != "0-0":
        reply: Any = client.xautoclaim(stream, group, me, min_idle_time=60_000, start_id=cursor)
        cursor, first = reply[0], False
        rows += reply[1]
    new: Any = client.xreadgroup(group, me, {stream: ">"}, count=10)
    rows += new[0][1] if new else []
    for entry, fields in rows:
        pending: Any = client.xpending_range(stream, group, entry, entry, 1)
        if pending[0]["times_delivered"] > 4:
            with client.pipeline(transaction=True) as both:
                both.xadd(stream + ":dead", {**fields, "id": entry})
                both.xack(stream, group, entry)
                both.execute()
            continue
        with suppress(RuntimeError):  # it stays pending, and its turn comes again
            handle(entry, fields)
            client.xack(stream, group, entry)


# ------------------------------------------------------------------------------------------------------- checks


@check(
    "07/1",
    solution=overdue,
    why="XPENDING with IDLE looks at all owners and disturbs nobody; it answers in pages, each from behind the last.",
)
def who_is_overdue(answer: Callable[..., Any], server: Server) -> str | None:
    """More overdue entries than a page holds, of two consumers; a living one has fresh ones in front."""
    with scratch.stream(server) as (client, stream):
        scratch.held(client, stream, "alive", 20)
        for name, count in (("dead", _MANY), ("gone", 3)):
            scratch.age(client, stream, name, scratch.held(client, stream, name, count), _LIMIT)
        said = answer(client, stream, scratch.GROUP, _LIMIT // 2)
        after: Any = client.xpending_range(stream, scratch.GROUP, "-", "+", 20 + _MANY + 3, idle=_LIMIT // 2)
    if len(after) < _MANY + 3:
        return "afterwards they were not idle any more: an alarm looks and does not touch (XCLAIM touches)."
    if not isinstance(said, dict):
        return f"a dict is asked for, {{consumer: number of entries}}; it returned {said!r}."
    if said.get("alive"):
        return "it named a consumer whose entries are fresh: that one is at work."
    if said == {"dead": _MANY, "gone": 3}:
        return None
    if sum(said.values()) < _MANY + 3:
        return f"it counted {sum(said.values())} of {_MANY + 3}: XPENDING answers with as many rows as you asked for."
    return f"it returned {said!r}: {_MANY} of 'dead' and 3 of 'gone' are overdue, and nobody else's."


@check(
    "07/2",
    solution=retire,
    why="looking and deleting are one step in a script: no entry can come in between.",
)
def retired_with_nothing_pending(answer: Callable[..., Any], server: Server) -> str | None:
    """One who has something pending, one who has not, and one who reads at the worst moment."""
    with scratch.stream(server) as (client, stream):
        scratch.add(client, stream, 2)
        scratch.read(client, stream, "busy", 1)
        client.xgroup_createconsumer(stream, scratch.GROUP, "quiet")
        said = answer(client, stream, scratch.GROUP, "busy")
        if _pending(client, stream) != {"busy": 1}:
            return "a consumer with a pending entry was deleted, and the entry with it: nobody will get it again."
        if said:
            return f"it left a consumer with a pending entry alone, and said {said!r}: return whether it deleted one."
        said = answer(client, stream, scratch.GROUP, "quiet")
        if "quiet" in _consumers(client, stream):
            return "a consumer that had nothing pending is still there."
        if not said:
            return f"it deleted a consumer, and said {said!r}: return whether it did."
        client.xgroup_createconsumer(stream, scratch.GROUP, "sleepy")
        answer(_Woken(client, lambda: scratch.read(client, stream, "sleepy", 1)), stream, scratch.GROUP, "sleepy")
        lost = _unowned(client, stream)
    if lost:
        return (
            "between your look and your XGROUP DELCONSUMER the consumer woke up and read an entry, which is lost now. "
            "Do both in one step: a script (EVAL)."
        )
    return None


@check(
    "07/3",
    solution=turn,
    why="XACK after the work; an error leaves the entry pending; idle ones are claimed by duration and cursor; the "
    "dead letter and its XACK are one transaction.",
)
def a_turn(answer: Callable[..., Any], server: Server) -> str | None:
    """New, stale, fresh and poisonous entries; and a death in the middle of the work."""
    with scratch.stream(server) as (client, stream):
        entries = scratch.add(client, stream, 8)
        dead, alive = (scratch.read(client, stream, name, count) for name, count in (("dead", 3), ("alive", 2)))
        poison = entries[5]
        scratch.age(client, stream, "dead", dead, _LIMIT)
        handled: list[str] = []

        def handle(entry: str, _: Any) -> None:
            handled.append(entry)
            if entry == poison:
                raise RuntimeError("this one never works")

        for _ in range(_TURNS):
            answer(client, stream, scratch.GROUP, "me", handle)
            if set(handled) & set(alive):
                return "it worked on entries that a living worker had just read: leave those alone."
            if scratch.pending(client, stream).get(poison, {}).get("consumer") == "me":
                scratch.age(client, stream, "me", [poison], _LIMIT)
        pending = set(scratch.pending(client, stream))
        letters: Any = client.xrange(f"{stream}:dead")
        times = handled.count(poison)
        wrong = {
            "two new entries were in the stream, and it did not work on both.": not set(entries[6:]) <= set(handled),
            f"{len(dead)} entries of a dead worker had been idle for {_LIMIT:,} ms, and it did not work on them "
            "all.": not set(dead) <= set(handled),
            "what was done is still pending: acknowledge it, or it is done again.": pending & {*entries[6:], *dead},
            f"a message whose handler failed was tried {times} time(s): let it stay pending, and claim it again.": times
            < 2,
            f"a message that always fails was tried {times} times, and is still pending: after {_TRIES}, give it "
            "up.": poison in pending,
            f"a message that always fails was tried {times} times, not {_TRIES}: XPENDING tells the delivery "
            "count.": times != _TRIES,
            "the dead letters should be one, with the entry's ID as the field id.": [
                fields.get("id") for _, fields in letters
            ]
            != [poison],
        }
        if hints := [hint for hint, is_so in wrong.items() if is_so]:
            return hints[0]
        (last,) = scratch.add(client, stream, 1)

        def dies(entry: str, _: Any) -> None:
            raise scratch.Killed

        with suppress(scratch.Killed):
            answer(client, stream, scratch.GROUP, "me", dies)
        left: Any = client.xpending_range(stream, scratch.GROUP, last, last, 1)
        return None if left else "its process was killed in the middle of the work, and the message was acknowledged."


# ------------------------------------------------------------------------------------------------ what they need


def _pending(client: Redis, stream: str) -> dict[str, int]:
    rows: Any = client.xinfo_consumers(stream, scratch.GROUP)
    return {row["name"]: row["pending"] for row in rows if row["pending"]}


def _consumers(client: Redis, stream: str) -> set[str]:
    rows: Any = client.xinfo_consumers(stream, scratch.GROUP)
    return {row["name"] for row in rows}


def _unowned(client: Redis, stream: str) -> int:
    """How many entries were delivered and are pending for nobody, where nobody acknowledges anything."""
    (group,) = client.xinfo_groups(stream)
    delivered: Any = client.xrange(stream, "-", group["last-delivered-id"])
    return len(delivered) - int(group["pending"])
