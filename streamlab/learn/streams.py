"""The exercises of notebooks/01_streams.ipynb: read no further before you have tried them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from redis import Redis

from streamlab.learn import scratch
from streamlab.learn.exercises import Answer, check
from streamlab.servers import Server

_PAGE, _ENTRIES = 10, 33
_AGES = (500, 400, 301, 299, 10)  # seconds, oldest first
_LIMIT = 300


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


@check(
    "01/1",
    read_pages,
    "the next page starts after the last ID of this one, and the page that is empty is the end. No cursor is kept "
    "on the server, so entries that are added meanwhile do not disturb it.",
)
def all_pages(answer: Answer, server: Server) -> Iterator[str]:
    """Ask for every entry once, in order, in small reads; and for an empty stream."""
    with scratch.key(server) as (client, stream):
        entries = scratch.add(client, stream, _ENTRIES)
        watched = scratch.Watched(client, scratch.TOO_MANY)
        said = watched.call(answer, stream, _PAGE)
        if watched.died:
            yield f"{scratch.TOO_MANY} commands for {_ENTRIES} entries, and no end: when is a page the last one?"
        largest = max(map(_count, watched.sent), default=0)
        if largest > _PAGE:
            yield f"a page has at most {_PAGE} entries, and a read asked for {largest:g}: pass count=size."
        got = [row[0] if isinstance(row, (list, tuple)) else row for row in said]
        if len(got) > len(set(got)):
            yield "some entries came twice: an ID as `min` is included. What does ( before an ID do?"
        if got != entries:
            yield f"{len(got)} of {len(entries)} entries, or not in their order: where does the next page start?"
        if answer(client, f"{stream}:none", _PAGE):
            yield "for a stream that does not exist the answer is an empty list."


def _count(command: tuple[Any, ...]) -> float:
    """Return the COUNT of a read, infinity for one without, and 0 for other commands."""
    if command[0] not in ("XRANGE", "XREVRANGE", "XREAD"):
        return 0
    words = [word.decode() if isinstance(word, bytes) else str(word) for word in command]
    return float(words[words.index("COUNT") + 1]) if "COUNT" in words else float("inf")


@check(
    "01/2",
    start_here,
    "a real ID stays what it is, so that nothing is lost before the first read; and it was taken from the stream, "
    "not from a clock. XINFO STREAM's last-generated-id does as well, where the stream exists.",
)
def nothing_missed(answer: Answer, server: Server) -> Iterator[str]:
    """Add an entry between the answer and the first XREAD: it is found, and what was there before is not."""
    with scratch.key(server) as (client, stream):
        seconds, _ = client.time()
        client.xadd(stream, {"n": "old"})
        client.xadd(stream, {"n": "old"}, id=f"{seconds * 1000 + scratch.HOUR}-0")  # its producer's clock is fast
        for key in (stream, f"{stream}:none"):
            start = answer(client, key)
            if start in ("$", "+"):
                yield f"XREAD looks up {start} when it is called: what is added before that call is missed."
            added = client.xadd(key, {"n": "new"})
            reply: Any = client.xread({key: start})
            found = [entry for entry, _ in reply[0][1]] if reply else []
            if added not in found:
                yield f"XREAD after {start} misses the entry that was added next."
            if found != [added]:
                yield (
                    f"XREAD after {start} also finds {len(found) - 1} of the entries that were there before. "
                    "The ID of one is an hour ahead of the clock: which ID does the stream itself name?"
                )


@check(
    "01/3",
    forget,
    "the first part of an ID is a time in milliseconds, so a bound for the age is a bound for the ID; "
    "approximate=False because ~ removes whole nodes only. The time is the server's, as the IDs are.",
)
def only_the_old(answer: Answer, server: Server) -> Iterator[str]:
    """Trim entries of known ages."""
    with scratch.key(server) as (client, stream):
        seconds, _ = client.time()
        for age in _AGES:
            client.xadd(stream, {"age": age}, id=f"{(seconds - age) * 1000}-0")
        answer(client, stream, _LIMIT)
        rows: Any = client.xrange(stream)
    left = {int(fields["age"]) for _, fields in rows}
    young = {age for age in _AGES if age < _LIMIT}
    if lost := young - left:
        yield f"it removed entries of {sorted(lost)} s too: they are younger than {_LIMIT} s."
    if left == set(_AGES):
        yield (
            "nothing was removed. MINID is an ID: the time now, in milliseconds, less the age. "
            "If yours is, what does redis-py's xtrim do by default, = or ~?"
        )
    if left != young:
        yield f"entries of {sorted(left - young)} s are still there."
