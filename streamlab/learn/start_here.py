"""The exercises of notebooks/00_start_here.ipynb: read no further before you have tried them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from redis import Redis

from streamlab.learn import scratch
from streamlab.learn.exercises import Answer, check
from streamlab.queue.message import Message
from streamlab.servers import Server

_MINUTE = 60_000
_FRESH, _IDLE = 1500, 25  # more fresh entries than one XAUTOCLAIM of the default COUNT looks at


def take_over(client: Redis, stream: str, group: str, me: str, idle_ms: int) -> list[str]:
    """Claim every entry that has been idle for `idle_ms`, and return their IDs."""
    claimed: list[str] = []
    cursor = "0-0"
    while True:
        reply: Any = client.xautoclaim(stream, group, me, min_idle_time=idle_ms, start_id=cursor)
        cursor = reply[0]
        claimed += [entry for entry, _ in reply[1]]
        if cursor == "0-0":
            return claimed


def count_done(client: Redis, key: str, message: Message) -> Any:
    """Note under `key` that `message.id` is done; return how many different messages are."""
    client.sadd(key, message.id)
    return client.scard(key)


@check("00/1", _MINUTE, "min-idle-time is a duration in milliseconds, compared with the time since the last delivery.")
def a_minute(answer: Any) -> Iterator[str]:
    """Compare with the min-idle-time that means a minute."""
    if isinstance(answer, bool) or not isinstance(answer, (int, float)):
        yield "a number is asked for."
    elif answer == 60:
        yield "that is 60 milliseconds: almost every message in flight at a living worker would qualify."
    elif answer > 1e11:
        yield "that is a point in time. No entry has been idle for half a century: nothing would ever be claimed."
    elif answer != _MINUTE:
        yield "how many milliseconds are a minute?"


@check(
    "00/2",
    take_over,
    "a call looks at a part of the pending entries; the cursor that it returns says where the next goes on, "
    "and 0-0 that it was the last.",
)
def everything_idle(answer: Answer, server: Server) -> Iterator[str]:
    """Try it on idle entries behind so many fresh ones that one call does not reach them."""
    with scratch.stream(server) as (client, stream):
        entries = scratch.deliver(client, stream, "dead", _FRESH + _IDLE)
        scratch.age(client, stream, "dead", entries[_FRESH:], _MINUTE)
        watched = scratch.Watched(client, scratch.TOO_MANY)
        said = watched.call(answer, stream, scratch.GROUP, "me", _MINUTE // 2)
        mine = [entry for entry, row in scratch.pending(client, stream).items() if row["consumer"] == "me"]
    if watched.died:
        yield f"{scratch.TOO_MANY} commands and no end: does each call start where the one before it stopped?"
    if set(mine) & set(entries[:_FRESH]):
        yield "it took entries that a living worker had just read: leave those alone."
    if len(mine) < _IDLE:
        yield (
            f"it claimed {len(mine)} of {_IDLE} idle entries: {_FRESH:,} fresh ones stand before them, and one call "
            "does not look at so many. What does XAUTOCLAIM return first?"
        )
    if not isinstance(said, (list, tuple)) or sorted(map(str, said)) != sorted(mine):
        yield "it claimed the right entries; now return their IDs, as a list."


@check(
    "00/3",
    count_done,
    "the effect carries the message's name, so that doing it twice is doing it once; no moment to die in is left.",
)
def counted_once(answer: Answer, server: Server) -> Iterator[str]:
    """Deliver a message a second time, and after a death before any command."""
    first, second = Message(b"1-0", []), Message(b"2-0", [])
    with scratch.key(server) as (client, key):
        said = [answer(client, key, message) for message in (first, second, first)]
    if said[:2] != [1, 2]:
        yield f"after the first message 1 is done, after the second 2; it returned {said[0]!r} and {said[1]!r}."
    if said[2] != 2:
        yield f"the first message came a second time, and then it returned {said[2]!r}: still 2 are done."

    def killed(watched: scratch.Watched, client: Redis, key: str) -> Iterator[str]:
        watched.call(answer, f"{key}:done", first)
        if (after := answer(client, f"{key}:done", first)) != 1:
            yield f"killed after {watched.at} command(s), then delivered again: it returned {after!r}, not 1."

    yield from scratch.at_each_command(server, killed)
