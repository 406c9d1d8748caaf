"""The exercises of notebooks/01_streams.ipynb: read no further before you have tried them.

1. Walk through a stream in pages.
2. Start to follow a stream, and miss nothing that is added from then on.
3. Remove what is older than so many seconds, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from redis import Redis

from streamlab.learn import scratch
from streamlab.learn.exercises import check

if TYPE_CHECKING:
    from streamlab.servers import Server

_PAGE, _ENTRIES = 10, 33
_TOO_MANY = 60  # commands after which an answer is going round in circles
_AHEAD_MS = 3_600_000  # an entry from a machine whose clock is an hour fast
_AGES = (500, 400, 301, 299, 10)  # seconds, oldest first
_LIMIT = 300


class _EndlessError(Exception):
    """So many commands that the loop has no end."""


class _Watched(Redis):
    """A client, on the connections of another, that notes the largest COUNT of a read; infinite where there is none."""

    def __init__(self, client: Redis) -> None:
        super().__init__(connection_pool=client.connection_pool)
        self.largest, self.commands = 0.0, 0

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Note it and send it."""
        self.commands += 1
        if self.commands > _TOO_MANY:
            raise _EndlessError
        if args[0] in ("XRANGE", "XREVRANGE", "XREAD"):
            words = [word.upper() if isinstance(word, (str, bytes)) else word for word in args]
            place = next((n for n, word in enumerate(words) if word in ("COUNT", b"COUNT")), None)
            self.largest = max(self.largest, float("inf") if place is None else float(words[place + 1]))
        return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]


# ---------------------------------------------------------------------------------------------------- solutions


def read_pages(client: Redis, stream: str, size: int) -> list[Any]:
    """Return all entries, oldest first, by reads of at most `size` entries."""
    found: list[Any] = []
    start = "-"
    while page := client.xrange(stream, min=start, count=size):
        found += page
        last: Any = page[-1][0]
        start = f"({last}"  # "(": after this one
    return found


def start_here(client: Redis, stream: str) -> str:
    """Return the ID after which XREAD finds all that is added from now on, and nothing older."""
    newest: Any = client.xrevrange(stream, count=1)
    return newest[0][0] if newest else "0-0"


def forget(client: Redis, stream: str, seconds: int) -> None:
    """Remove the entries that are older than `seconds`, and no others."""
    now, micros = client.time()
    oldest_ms = now * 1000 + micros // 1000 - seconds * 1000
    client.xtrim(stream, minid=oldest_ms, approximate=False)


# ------------------------------------------------------------------------------------------------------- checks


@check(
    "01/1",
    solution=read_pages,
    why="the next page starts after the last ID of this one, and the page that is empty is the end. No cursor is kept "
    "on the server, so entries that are added meanwhile do not disturb it.",
)
def all_pages(answer: Callable[..., Any], server: Server) -> str | None:
    """Every entry once, in order, in small reads; and an empty stream."""
    with scratch.key(server) as (client, stream):
        entries = scratch.add(client, stream, _ENTRIES)
        watched = _Watched(client)
        try:
            said = answer(watched, stream, _PAGE)
        except _EndlessError:
            return f"{_TOO_MANY} commands for {_ENTRIES} entries, and no end: when is a page the last one?"
        if hint := _unlike(said, entries, watched.largest):
            return hint
        if answer(_Watched(client), f"{stream}:none", _PAGE):
            return "for a stream that does not exist the answer is an empty list."
    return None


def _unlike(said: Any, entries: list[str], largest: float) -> str | None:
    if not isinstance(said, (list, tuple)):
        return f"return the entries as one list; it returned {said!r}."
    got = [row[0] if isinstance(row, (list, tuple)) else row for row in said]
    if largest > _PAGE:
        return f"a page has at most {_PAGE} entries, and a read asked for {largest:g}: pass count=size."
    if len(got) > len(set(got)):
        return "some entries came twice: an ID as `min` is included. What does ( before an ID do?"
    if len(got) < len(entries):
        return f"{len(got)} of {len(entries)} entries: where does the next page start?"
    return None if got == entries else "all are there, but not in the order of the stream."


@check(
    "01/2",
    solution=start_here,
    why="a real ID stays what it is, so that nothing is lost before the first read; and it was taken from the stream, "
    "not from a clock. XINFO STREAM's last-generated-id does as well, where the stream exists.",
)
def nothing_missed(answer: Callable[..., Any], server: Server) -> str | None:
    """What is added between the answer and the first XREAD is found; what was there before is not."""
    with scratch.key(server) as (client, stream):
        seconds, _ = client.time()
        client.xadd(stream, {"n": "old"})
        client.xadd(stream, {"n": "old"}, id=f"{seconds * 1000 + _AHEAD_MS}-0")
        for key in (stream, f"{stream}:none"):
            start = answer(client, key)
            if start in ("$", "+"):
                return f"XREAD looks up {start} when it is called: what is added before that call is missed."
            if start is None:
                return "it returned None: for a stream that does not exist, which ID comes before all others?"
            added = client.xadd(key, {"n": "new"})
            reply: Any = client.xread({key: start})
            found = [entry for entry, _ in reply[0][1]] if reply else []
            if added not in found:
                return f"XREAD after {start} misses the entry that was added next."
            if found != [added]:
                return (
                    f"XREAD after {start} also finds {len(found) - 1} of the entries that were there before. "
                    "The ID of one is an hour ahead of the clock: which ID does the stream itself name?"
                )
    return None


@check(
    "01/3",
    solution=forget,
    why="the first part of an ID is a time in milliseconds, so a bound for the age is a bound for the ID; "
    "approximate=False because ~ removes whole nodes only. The time is the server's, as the IDs are.",
)
def only_the_old(answer: Callable[..., Any], server: Server) -> str | None:
    """Entries of known ages."""
    with scratch.key(server) as (client, stream):
        seconds, _ = client.time()
        for age in _AGES:
            client.xadd(stream, {"age": age}, id=f"{(seconds - age) * 1000}-0")
        answer(client, stream, _LIMIT)
        rows: Any = client.xrange(stream)
    left = {int(fields["age"]) for _, fields in rows}
    young = {age for age in _AGES if age < _LIMIT}
    if lost := young - left:
        return f"it removed entries of {sorted(lost)} s too: they are younger than {_LIMIT} s."
    if left == set(_AGES):
        return (
            "nothing was removed. MINID is an ID: the time now, in milliseconds, less the age. "
            "If yours is, what does redis-py's xtrim do by default, = or ~?"
        )
    if left != young:
        return f"entries of {sorted(left - young)} s are still there."
    return None
