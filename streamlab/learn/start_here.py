"""The exercises of notebooks/00_start_here.ipynb: read no further before you have tried them.

1. How long is a minute of idle time?
2. Claim everything that has been idle, of however many entries are pending.
3. Count what is done, though a worker may die at any point and its message come again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from redis import Redis

from streamlab.learn import scratch
from streamlab.learn.exercises import check
from streamlab.queue.message import Message

if TYPE_CHECKING:
    from streamlab.servers import Server

_MINUTE = 60_000
_TOO_MANY = 200  # commands after which an answer is going round in circles
_FRESH, _IDLE = 1500, 25  # more fresh entries than one XAUTOCLAIM of the default COUNT looks at


class _Mortal(Redis):
    """A client, on the connections of another, whose process is killed after so many commands."""

    def __init__(self, client: Redis, commands: int) -> None:
        super().__init__(connection_pool=client.connection_pool)
        self._left = commands

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send it, if still alive."""
        if self._left == 0:
            raise scratch.Killed
        self._left -= 1
        return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]


# ---------------------------------------------------------------------------------------------------- solutions


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


# ------------------------------------------------------------------------------------------------------- checks


@check(
    "00/1",
    solution=_MINUTE,
    why="min-idle-time is a duration in milliseconds, compared with the time since the last delivery.",
)
def a_minute(answer: Any) -> str | None:
    """The min-idle-time that means a minute."""
    if isinstance(answer, bool) or not isinstance(answer, (int, float)):
        return "a number is asked for."
    if answer == _MINUTE:
        return None
    if answer == 60:
        return "that is 60 milliseconds: almost everything that a living worker has in hand would qualify."
    if answer > 1e11:
        return "that is a point in time. No entry has been idle for half a century: nothing would ever be claimed."
    return "how many milliseconds are a minute?"


@check(
    "00/2",
    solution=take_over,
    why="a call looks at a part of the pending entries; the cursor that it returns says where the next goes on, "
    "and 0-0 that it was the last.",
)
def everything_idle(answer: Callable[..., Any], server: Server) -> str | None:
    """Idle entries behind so many fresh ones that one call does not reach them."""
    with scratch.stream(server) as (client, stream):
        entries = scratch.held(client, stream, "dead", _FRESH + _IDLE)
        fresh, idle = entries[:_FRESH], entries[_FRESH:]
        scratch.age(client, stream, "dead", idle, _MINUTE)
        try:
            said = answer(_Mortal(client, _TOO_MANY), stream, scratch.GROUP, "me", _MINUTE // 2)
        except scratch.Killed:
            return f"{_TOO_MANY} commands and no end: does each call start where the one before it stopped?"
        mine = [entry for entry, row in scratch.pending(client, stream).items() if row["consumer"] == "me"]
    if set(mine) & set(fresh):
        return "it took entries that a living worker had just read: leave those alone."
    if len(mine) < _IDLE:
        return (
            f"it claimed {len(mine)} of {_IDLE} idle entries: {_FRESH:,} fresh ones stand before them, and one call "
            "does not look at so many. What does XAUTOCLAIM return first?"
        )
    if not isinstance(said, (list, tuple)) or sorted(map(str, said)) != sorted(mine):
        return "it claimed the right entries; now return their IDs, as a list."
    return None


@check(
    "00/3",
    solution=count_done,
    why="the effect carries the message's name, so that doing it twice is doing it once; no moment to die in is left.",
)
def counted_once(answer: Callable[..., Any], server: Server) -> str | None:
    """Each message is counted once: on an ordinary second delivery, and after a death between any two commands."""
    first, second = Message(b"1-0", []), Message(b"2-0", [])
    with scratch.key(server) as (client, key):
        said = [answer(client, key, message) for message in (first, second, first)]
        if said[:2] != [1, 2]:
            return f"after the first message 1 is done, after the second 2; it returned {said[0]!r} and {said[1]!r}."
        if said[2] != 2:
            return f"the first message came a second time, and then it returned {said[2]!r}: still 2 are done."
        for commands in range(1, _TOO_MANY):
            try:
                answer(_Mortal(client, commands), f"{key}:{commands}", first)
            except scratch.Killed:
                if (after := answer(client, f"{key}:{commands}", first)) != 1:
                    return f"killed after {commands} command(s), then delivered again: it returned {after!r}, not 1."
            else:
                return None
    return f"{_TOO_MANY} commands for one message: it goes round in circles."
