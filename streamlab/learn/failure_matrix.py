"""The exercise of notebooks/07_failure_matrix.ipynb: read no further before you have tried it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from redis import Redis

from streamlab.learn import scratch
from streamlab.learn.exercises import Answer, check
from streamlab.servers import Server

_LIMIT = 60_000  # ms
_TRIES = 4
_TURNS = 30


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


@check(
    "07/1",
    turn,
    "XACK after the work; an error leaves the entry pending; idle ones are claimed by duration and cursor; the "
    "dead letter and its XACK are one transaction.",
)
def a_turn(answer: Answer, server: Server) -> Iterator[str]:
    """Try it on new, stale, fresh and poisonous entries; then the process dies in the middle of the work."""
    with scratch.stream(server) as (client, stream):
        entries = scratch.add(client, stream, 8)
        dead, alive = (scratch.read(client, stream, name, count) for name, count in (("dead", 3), ("alive", 2)))
        poison, new = entries[5], entries[6:]
        scratch.age(client, stream, "dead", dead, _LIMIT)
        handled: list[str] = []

        def handle(entry: str, _: Any) -> None:
            handled.append(entry)
            if entry == poison:
                raise RuntimeError("this one never works")

        for _ in range(_TURNS):
            answer(client, stream, scratch.GROUP, "me", handle)
            if set(handled) & set(alive):
                yield "it worked on entries that a living worker had just read: leave those alone."
            if scratch.owner(client, stream, poison) == "me":
                scratch.age(client, stream, "me", [poison], _LIMIT)
        pending = set(scratch.pending(client, stream))
        letters: Any = client.xrange(f"{stream}:dead")
        times = handled.count(poison)
        if not set(new) <= set(handled):
            yield "two new entries were in the stream, and it did not work on both."
        if not set(dead) <= set(handled):
            yield f"3 entries of a dead worker had been idle for {_LIMIT:,} ms, and it did not work on them all."
        if pending & {*new, *dead}:
            yield "what was done is still pending: acknowledge it, or it is done again."
        if times < 2:
            yield f"a message whose handler failed was tried {times} time(s): let it stay pending, and claim it again."
        if poison in pending:
            yield f"a message that always fails was tried {times} times, and is still pending: after 4, give it up."
        if times != _TRIES:
            yield f"a message that always fails was tried {times} times, not 4: XPENDING tells the delivery count."
        if [fields.get("id") for _, fields in letters] != [poison]:
            yield "the dead letters should be one, with the entry's ID as the field id."
        (last,) = scratch.add(client, stream, 1)

        def dies(entry: str, _: Any) -> None:
            raise scratch.Killed

        with suppress(scratch.Killed):
            answer(client, stream, scratch.GROUP, "me", dies)
        if not scratch.owner(client, stream, last):
            yield "its process was killed in the middle of the work, and the message was acknowledged."
