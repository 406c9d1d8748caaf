"""Answers to the exercises of the course as readers give them: wrong, with what the hint says of them; and right."""

from __future__ import annotations

import math
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import Any

from redis.exceptions import ResponseError

# 00


def never_follows(client: Any, stream: str, group: str, me: str, idle_ms: int) -> Any:
    while client.xautoclaim(stream, group, me, min_idle_time=idle_ms)[0] != "0-0":
        pass


def claims_what_is_idle(client: Any, stream: str, group: str, me: str, idle_ms: int, idle: int | None = None) -> Any:
    rows = client.xpending_range(stream, group, "-", "+", 10_000, idle=idle_ms if idle is None else idle)
    return client.xclaim(stream, group, me, 0, [row["message_id"] for row in rows], justid=True)


def looks_then_increments(client: Any, key: str, message: Any) -> Any:
    if client.sadd(f"{key}:done", message.id):
        return client.incr(key)
    return int(client.get(key) or 0)


# 01


def includes_the_last(client: Any, stream: str, size: int) -> Any:
    found, start = [], "-"
    while page := client.xrange(stream, min=start, count=size):
        found += page
        if len(page) < size:
            return found
        start = page[-1][0]
    return found


def trims_to(minid: Any, approximate: bool = False) -> Any:
    return lambda client, stream, seconds: client.xtrim(stream, minid=minid(seconds), approximate=approximate)


# 02


def creates(**options: Any) -> Any:
    return lambda client, stream, group: client.xgroup_create(stream, group, **options)


def passes_over(client: Any, stream: str, group: str, start: str = "0") -> None:
    with suppress(ResponseError):
        client.xgroup_create(stream, group, id=start, mkstream=True)


def group_of(client: Any, stream: str, group: str) -> Any:
    return next(row for row in client.xinfo_groups(stream) if row["name"] == group)


# 03


def one_page(client: Any, stream: str, group: str, idle_ms: int, size: int = 1000) -> Any:
    return Counter(row["consumer"] for row in client.xpending_range(stream, group, "-", "+", size, idle=idle_ms))


def reads(client: Any, stream: str, group: str, me: str, start: str = "0") -> Any:
    return client.xreadgroup(group, me, {stream: start})[0][1]


def looks_then_deletes(client: Any, stream: str, group: str, consumer: str) -> Any:
    if client.xpending_range(stream, group, "-", "+", 1, consumer):
        return False
    client.xgroup_delconsumer(stream, group, consumer)
    return True


# 04


def waits(error: Exception, n: int, *, first: int = 1, last: int = 4, permanent: str = "no picture") -> Any:
    return "bury" if n > last or permanent in str(error) else min(first * 2 ** (n - 1), 6)


def is_mine(client: Any, stream: str, group: str, me: str, entry: str) -> bool:
    return bool(client.xpending_range(stream, group, entry, entry, 1, me))


def writes(to: Any, client: Any, stream: str, entry: str) -> Any:
    return to.xadd(stream + ":dead", {"id": entry, **client.xrange(stream, entry, entry)[0][1]})


def letter_first(client: Any, stream: str, group: str, me: str, entry: str) -> Any:
    if not is_mine(client, stream, group, me, entry):
        return None
    letter = writes(client, client, stream, entry)
    client.xack(stream, group, entry)
    return letter


def asks_before_multi(client: Any, stream: str, group: str, me: str, entry: str) -> Any:
    if not is_mine(client, stream, group, me, entry):
        return None
    with client.pipeline(transaction=True) as both:
        writes(both, client, stream, entry)
        both.xack(stream, group, entry)
        return both.execute()[0]


def back(client: Any, dead: str, stream: str, letter: str, both: Any, most: int = 2) -> Any:
    found = client.xrange(dead, letter, letter)
    times = int(found[0][1].get("redriven", 0)) if found else most
    if times >= most:
        return None
    added = both.xadd(stream, found[0][1] | {"redriven": times + 1})
    both.xdel(dead, letter)
    return added


def in_a_pipeline(client: Any, *names: str, transaction: bool = False) -> Any:
    with client.pipeline(transaction=transaction) as both:
        back(client, *names, both)
        return (both.execute() or [None])[0]


# 05


def steals(client: Any, stream: str, group: str, me: str, ids: list[str]) -> Any:
    renewed = client.xclaim(stream, group, me, 0, ids, justid=True)
    return [entry for entry in ids if entry not in renewed]


def looks_then_renews(client: Any, stream: str, group: str, me: str, ids: list[str], justid: bool = True) -> Any:
    mine = [entry for entry in ids if is_mine(client, stream, group, me, entry)]
    if mine:
        client.xclaim(stream, group, me, 0, mine, justid=justid)
    return [entry for entry in ids if entry not in mine]


def adds_in_multi(client: Any, stream: str, group: str, entry: str, account: str, transaction: bool = True) -> Any:
    with client.pipeline(transaction=transaction) as both:
        return both.incrby(account, 10).xack(stream, group, entry).execute()[1] == 1


def acks_then_adds(client: Any, stream: str, group: str, entry: str, account: str) -> Any:
    return bool(client.xack(stream, group, entry) and client.incrby(account, 10))


def watches_the_done(client: Any, stream: str, group: str, entry: str, account: str) -> Any:
    def once(both: Any) -> Any:
        new = not both.sismember(f"{stream}:done", entry)
        both.multi()
        if new:
            both.sadd(f"{stream}:done", entry).incrby(account, 10)
        both.xack(stream, group, entry)
        return new

    return client.transaction(once, f"{stream}:done", value_from_callable=True)


def overwrites(client: Any, key: str, token: int, value: str) -> Any:
    return client.hset(key, mapping={"token": token, "value": value}) >= 0


# 06


def nearest(took: list[float]) -> float:
    return sorted(took)[math.ceil(0.99 * len(took)) - 1]


def needed(rate: float, seconds: float, backlog: float, within: float, coming: int = 1) -> int:
    return math.ceil((coming * rate + backlog / within) * seconds)


def what_is_pending(client: Any, stream: str) -> Any:
    pending = [client.xpending(stream, group["name"])["min"] for group in client.xinfo_groups(stream)]
    return client.xtrim(stream, minid=min(filter(None, pending), default="99-0"), approximate=False)


# 07


def handles(
    client: Any, stream: str, group: str, me: str, handle: Any, *, idle: int = 60_000, early: bool = False
) -> None:
    _, rows, *_ = client.xautoclaim(stream, group, me, idle)
    for entry, fields in rows + [row for _, new in client.xreadgroup(group, me, {stream: ">"}) for row in new]:
        with suppress(RuntimeError):
            if early:
                client.xack(stream, group, entry)
            handle(entry, fields)
            client.xack(stream, group, entry)


WRONG = [
    ("00/1", 60, "60 milliseconds"),
    ("00/1", 1_700_000_000_000 - 60_000, "point in time"),
    ("00/1", "60000", "a number"),
    (
        "00/2",
        lambda client, *names: [row[0] for row in client.xautoclaim(*names)[1]],
        "What does XAUTOCLAIM return first",
    ),
    ("00/2", never_follows, "no end"),
    ("00/2", partial(claims_what_is_idle, idle=0), "a living worker had just read"),
    ("00/3", lambda client, key, message: client.incr(key), "still 2 are done"),
    ("00/3", looks_then_increments, "killed after 1 command"),
    ("00/3", lambda client, key, message: 7, "after the second 2"),
    ("01/1", includes_the_last, "came twice"),
    ("01/1", lambda client, stream, size: client.xrange(stream), "count=size"),
    ("01/2", lambda client, stream: "$", "when it is called"),
    ("01/2", lambda client, stream: int(time.time() * 1000), "ahead of the clock"),
    ("01/2", lambda client, stream: "0", "there before"),
    ("01/3", trims_to(lambda seconds: int(time.time()) - seconds), "nothing was removed"),
    ("01/3", trims_to(lambda seconds: int((time.time() - seconds) * 1000), approximate=True), "= or ~"),
    ("02/1", creates(id="0", mkstream=True), "BUSYGROUP"),
    ("02/1", partial(passes_over, start="$"), "the group misses them"),
    ("02/1", passes_over, "the key held a text"),
    ("02/2", lambda client, stream, group: client.xlen(stream), "XACK deletes nothing"),
    ("02/2", lambda *names: group_of(*names)["lag"], "not delivered yet"),
    ("02/2", lambda *names: group_of(*names)["pending"] + (group_of(*names)["lag"] or 0), "null is not zero"),
    ("02/3", lambda customer, parts: hash(customer) % parts, "in another process"),
    ("02/3", lambda customer, parts: len(customer) % parts, "are used"),
    ("03/1", one_page, "how does the next page begin"),
    (
        "03/1",
        lambda client, *at: {"ann": len(client.xautoclaim(*at[:2], "me", at[2], justid=True))},
        "an alarm only looks",
    ),
    ("03/2", reads, "no fields"),
    ("03/2", lambda *names: [row for row in reads(*names) if row[1]], "pending still"),
    ("03/2", partial(reads, start=">"), "it read new entries"),
    ("03/2", lambda client, *names: client.xautoclaim(*names, 0, count=1000)[1], "another consumer"),
    ("03/3", lambda client, *names: client.xgroup_delconsumer(*names) == 0, "nobody will ever get them"),
    ("03/3", looks_then_deletes, "both must be one step"),
    ("04/1", partial(waits, permanent="nothing"), "PermanentError"),
    ("04/1", partial(waits, first=2), "begins with the second"),
    ("04/1", partial(waits, last=5), "fifth fails"),
    ("04/2", letter_first, "torn"),
    ("04/2", lambda c, stream, group, me, entry: c.xack(stream, group, entry) and writes(c, c, stream, entry), "lost"),
    ("04/2", asks_before_multi, "bob claimed"),
    ("04/3", in_a_pipeline, "not one step"),
    ("04/3", partial(in_a_pipeline, transaction=True), "somebody else's"),
    ("04/3", lambda client, *names: back(client, *names, client, most=99), "has had its chances"),
    ("05/1", {"a", "b"}, "another 100"),
    ("05/1", {"a", "c"}, "2 more"),
    ("05/2", steals, "takes from anybody"),
    ("05/2", partial(looks_then_renews, justid=False), "JUSTID"),
    ("05/2", looks_then_renews, "one step"),
    ("05/3", adds_in_multi, "a zombie called it again"),
    ("05/3", acks_then_adds, "killed before its command number 2"),
    ("05/4", overwrites, "that is the zombie"),
    (
        "05/4",
        lambda c, key, n, value: (c.hget(key, "token") or "") <= str(n) and overwrites(c, key, n, value),
        "tonumber",
    ),
    (
        "05/4",
        lambda c, key, n, value: int(c.hget(key, "token") or 0) <= n and overwrites(c, key, n, value),
        "one step",
    ),
    ("06/1", lambda jobs: nearest([done - sent for _, sent, done in jobs if done is not None]), "since it was sent"),
    ("06/1", lambda jobs: nearest([done - due for due, _, done in jobs if done is not None]), "never came"),
    ("06/2", partial(needed, coming=0), "if nothing else comes"),
    ("06/2", needed, "busy"),
    ("06/2", lambda rate, seconds, backlog, within: (rate + backlog / within) * seconds + 0.5, "part of a worker"),
    ("06/3", lambda client, stream: client.xtrim(stream, maxlen=20, approximate=False), "still needed are gone"),
    ("06/3", what_is_pending, "group `slow`"),
    ("07/1", partial(handles, early=True), "was tried 1 time"),
    ("07/1", handles, "after 4, give it up"),
    ("07/1", partial(handles, idle=0), "leave those alone"),
]
RIGHT_TOO = [
    ("00/1", 60_000.0),
    ("00/2", claims_what_is_idle),
    ("01/2", lambda client, key: client.xinfo_stream(key)["last-generated-id"] if client.exists(key) else "0"),
    ("05/3", watches_the_done),
]
