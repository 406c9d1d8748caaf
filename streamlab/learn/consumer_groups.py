"""The exercises of notebooks/02_consumer_groups.ipynb: read no further before you have tried them."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import cloudpickle
from redis import Redis
from redis.exceptions import ResponseError

from streamlab.learn import scratch
from streamlab.learn.exercises import Answer, check
from streamlab.servers import Server

_ADDED, _READ, _ACKED = 160, 60, 20  # entries, most of them not read, and some of those read pending
_PARTS = 8
_CUSTOMERS = [f"customer-{number}" for number in range(1000)] + ["", "anna", "Zoë", "O'Brien & sons"]
_ELSEWHERE = """
import pickle, sys
answer, names, parts = pickle.load(sys.stdin.buffer)
sys.stdout.buffer.write(pickle.dumps([answer(name, parts) for name in names]))
"""


def ensure_group(client: Redis, stream: str, group: str) -> None:
    """See to it that the group exists, whether the stream does or not. A group that exists stays as it is."""
    try:
        client.xgroup_create(stream, group, id="0", mkstream=True)
    except ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):
            raise


def left_to_do(client: Redis, stream: str, group: str) -> int:
    """Return how many entries the group has not acknowledged: those delivered, and those not delivered yet."""
    rows: Any = client.xinfo_groups(stream)
    [mine] = [row for row in rows if row["name"] == group]
    left: int = mine["pending"]
    if mine["lag"] is not None:
        return left + int(mine["lag"])
    start = "(" + mine["last-delivered-id"]
    while page := client.xrange(stream, min=start, count=1000):
        left += len(page)
        last: Any = page[-1][0]
        start = "(" + last
    return left


def part_of(customer: str, parts: int) -> int:
    """Return the number of the part, from 0 to parts - 1, for a customer's name (any text)."""
    return zlib.crc32(customer.encode()) % parts


@check(
    "02/1",
    ensure_group,
    "the group begins at 0, so that nothing which is there already is skipped; BUSYGROUP means that another worker "
    "was first, and is the only error that may be passed over.",
)
def made_once(answer: Answer, server: Server) -> Iterator[str]:
    """Try it without a stream, on one with entries, on a group in the middle of its work, and on a text."""
    with scratch.key(server) as (client, stream):
        try:
            answer(client, f"{stream}:none", scratch.GROUP)
        except ResponseError as error:
            yield f"the stream does not exist yet, and Redis said: {error}"
        if not client.exists(f"{stream}:none"):
            yield "the stream does not exist yet: after the call there is no group, and the first read gets NOGROUP."
        scratch.add(client, stream, 3)
        answer(client, stream, scratch.GROUP)
        if len(scratch.read(client, stream, "a-worker", 2)) < 2:
            yield "three entries were in the stream, and the group misses them. redis-py's default for id is $."
        try:
            answer(client, stream, scratch.GROUP)
        except ResponseError as error:
            yield f"the second worker that starts calls it too, and Redis said: {error}"
        if len(scratch.pending(client, stream)) != 2:
            yield "a worker had two entries pending, and after the second call the group does not know: it was remade."
        if len(scratch.read(client, stream, "a-worker", 9)) != 1:
            yield "the second call has moved the group's cursor: a group that exists stays as it is."
        client.set(f"{stream}:text", "no stream")
        try:
            answer(client, f"{stream}:text", scratch.GROUP)
        except ResponseError:
            return
        yield "the key held a text, and nobody was told: of the errors of XGROUP CREATE only BUSYGROUP is harmless."


@check(
    "02/2",
    left_to_do,
    "pending and lag together are what is left; where lag is null, the entries behind the group's cursor can be "
    "counted, which costs as much as they are.",
)
def all_that_is_left(answer: Answer, server: Server) -> Iterator[str]:
    """Ask with entries acknowledged, pending and unread; then again after one of the unread was deleted."""
    with scratch.key(server) as (client, stream):
        client.xgroup_create(stream, "others", id="0", mkstream=True)
        client.xgroup_create(stream, scratch.GROUP, id="0")
        entries = scratch.add(client, stream, _ADDED)
        client.xack(stream, scratch.GROUP, *scratch.read(client, stream, "a-worker", _READ)[:_ACKED])
        before: Any = client.xinfo_groups(stream)
        said, right = answer(client, stream, scratch.GROUP), _ADDED - _ACKED
        hints = {
            _ADDED: "XACK deletes nothing: what the stream holds is not what is left.",
            _ADDED - _READ: "that is what is not delivered yet; what was delivered and not acknowledged is left, too.",
            _READ - _ACKED: "that is what is pending; what was not delivered yet is left, too.",
        }
        if said != right:
            yield hints.get(said, f"it returned {said!r}, and {right} are left.")
        client.xdel(stream, entries[100])
        said = answer(client, stream, scratch.GROUP)
        after: Any = client.xinfo_groups(stream)
    for key, hint in (
        ("last-delivered-id", "it has moved a group's cursor: no worker will get what it counted that way."),
        ("pending", "it has changed what is pending: a dashboard only looks."),
    ):
        if [row[key] for row in after] != [row[key] for row in before]:
            yield hint
    if said == _READ - _ACKED:
        yield "one unread entry was deleted, and now it leaves out all that are unread: null is not zero."
    if said != right - 1:
        yield f"one unread entry was deleted, and it returned {said!r}: {right - 1} are left."


@check(
    "02/3",
    part_of,
    "a checksum of the name's bytes is the same in every process and on every machine, and it spreads well.",
)
def same_part_everywhere(answer: Answer) -> Iterator[str]:
    """Ask for many names: the parts are within the limits, spread, and the same in another process."""
    here = [answer(name, _PARTS) for name in _CUSTOMERS]
    for name, part in zip(_CUSTOMERS, here, strict=True):
        if isinstance(part, bool) or not isinstance(part, int) or not 0 <= part < _PARTS:
            yield f"for {name!r} and {_PARTS} parts it returned {part!r}: expected a number from 0 to {_PARTS - 1}."
    if [answer(name, _PARTS) for name in reversed(_CUSTOMERS)][::-1] != here:
        yield "asked again in another order, it named another part for the same customer."
    used = Counter(here)
    if len(used) < _PARTS or max(used.values()) > 2 * len(here) / _PARTS:
        yield (
            f"of {_PARTS} parts {len(used)} are used, and {max(used.values())} of {len(here)} customers are in the "
            "fullest: what do their names differ in?"
        )
    if _in_another_process(answer) != here:
        yield (
            "in another process the same customers are in other parts. Python's hash() of a text is another one in "
            "each process; a checksum of its bytes is not."
        )


def _in_another_process(answer: Answer) -> Any:
    """Return the answers of a process that was started with another seed for hash()."""
    ours = os.environ.get("PYTHONHASHSEED", "")
    there = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONHASHSEED": "2" if ours == "1" else "1"}
    asked = cloudpickle.dumps((answer, _CUSTOMERS, _PARTS))
    done = subprocess.run(
        [sys.executable, "-c", _ELSEWHERE], input=asked, env=os.environ | there, capture_output=True, check=True
    )
    return cloudpickle.loads(done.stdout)
