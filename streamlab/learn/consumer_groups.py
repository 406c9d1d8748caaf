"""The exercises of notebooks/02_consumer_groups.ipynb: read no further before you have tried them.

1. Make sure that a group exists: from the beginning, however often, and with no error hidden.
2. How much has a group left to do, also where Redis does not know the lag?
3. Send what belongs together to the same part, from every process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import cloudpickle
from redis import Redis
from redis.exceptions import ResponseError

from streamlab.learn import scratch
from streamlab.learn.exercises import check

if TYPE_CHECKING:
    from streamlab.servers import Server

_ADDED, _READ, _ACKED = 160, 60, 20  # entries, most of them not read, and some of those read pending
_PARTS = 8
_CUSTOMERS = [f"customer-{number}" for number in range(1000)] + ["", "anna", "Zoë", "O'Brien & sons"]
_ELSEWHERE = """
import pickle, sys
answer, names, parts = pickle.load(sys.stdin.buffer)
sys.stdout.buffer.write(pickle.dumps([answer(name, parts) for name in names]))
"""


# ---------------------------------------------------------------------------------------------------- solutions


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


# ------------------------------------------------------------------------------------------------------- checks


@check(
    "02/1",
    solution=ensure_group,
    why="the group begins at 0, so that nothing which is there already is skipped; BUSYGROUP means that another worker "
    "was first, and is the only error that may be passed over.",
)
def made_once(answer: Callable[..., Any], server: Server) -> str | None:
    """No stream; a stream with entries; a group in the middle of its work; and a key that is no stream."""
    with scratch.key(server) as (client, stream):
        hint = _first_time(answer, client, stream) or _second_time(answer, client, stream)
        if hint:
            return hint
        client.set(f"{stream}:text", "no stream")
        try:
            answer(client, f"{stream}:text", scratch.GROUP)
        except ResponseError:
            return None
    return "the key held a text, and nobody was told: of the errors of XGROUP CREATE only BUSYGROUP is harmless."


def _first_time(answer: Callable[..., Any], client: Redis, stream: str) -> str | None:
    """Without a stream, and for one that has entries; two of its three are read."""
    try:
        answer(client, f"{stream}:none", scratch.GROUP)
    except ResponseError as error:
        return f"the stream does not exist yet, and Redis said: {error}"
    if not client.exists(f"{stream}:none"):
        return "the stream does not exist yet: after the call there is no group, and the first read gets NOGROUP."
    scratch.add(client, stream, 3)
    answer(client, stream, scratch.GROUP)
    if len(scratch.read(client, stream, "a-worker", 2)) < 2:
        return "three entries were in the stream, and the group misses them. redis-py's default for id is $."
    return None


def _second_time(answer: Callable[..., Any], client: Redis, stream: str) -> str | None:
    """For a group of which two entries are pending and one is not read."""
    try:
        answer(client, stream, scratch.GROUP)
    except ResponseError as error:
        return f"the second worker that starts calls it too, and Redis said: {error}"
    rows: Any = client.xinfo_groups(stream)
    if rows[0]["pending"] != 2:
        return "a worker had two entries pending, and after the second call the group does not know: it was remade."
    if len(scratch.read(client, stream, "a-worker", 9)) != 1:
        return "the second call has moved the group's cursor: a group that exists stays as it is."
    return None


@check(
    "02/2",
    solution=left_to_do,
    why="pending and lag together are what is left; where lag is null, the entries behind the group's cursor can be "
    "counted, which costs as much as they are.",
)
def all_that_is_left(answer: Callable[..., Any], server: Server) -> str | None:
    """Entries acknowledged, pending and unread; then one of the unread is deleted."""
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
            return hints.get(said, f"it returned {said!r}, and {right} are left.")
        client.xdel(stream, entries[100])
        said = answer(client, stream, scratch.GROUP)
        after: Any = client.xinfo_groups(stream)
    if [row["last-delivered-id"] for row in after] != [row["last-delivered-id"] for row in before]:
        return "it has moved a group's cursor: what it counted that way is not delivered to any worker again."
    if [row["pending"] for row in after] != [row["pending"] for row in before]:
        return "it has changed what is pending: a dashboard only looks."
    if said == _READ - _ACKED:
        return "one unread entry was deleted, and now it leaves out all that are unread: null is not zero."
    if said != right - 1:
        return f"one unread entry was deleted, and it returned {said!r}: {right - 1} are left."
    return None


@check(
    "02/3",
    solution=part_of,
    why="a checksum of the name's bytes is the same in every process and on every machine, and it spreads well.",
)
def same_part_everywhere(answer: Callable[..., Any]) -> str | None:
    """Many names: within the limits, spread, and the same in another process."""
    here = [answer(name, _PARTS) for name in _CUSTOMERS]
    for name, part in zip(_CUSTOMERS, here, strict=True):
        if isinstance(part, bool) or not isinstance(part, int) or not 0 <= part < _PARTS:
            return f"for {name!r} and {_PARTS} parts it returned {part!r}: expected a number from 0 to {_PARTS - 1}."
    if [answer(name, _PARTS) for name in reversed(_CUSTOMERS)][::-1] != here:
        return "asked again in another order, it named another part for the same customer."
    used = Counter(here)
    if len(used) < _PARTS or max(used.values()) > 2 * len(here) / _PARTS:
        return (
            f"of {_PARTS} parts {len(used)} are used, and {max(used.values())} of {len(here)} customers are in the "
            "fullest: what do their names differ in?"
        )
    if _in_another_process(answer) != here:
        return (
            "in another process the same customers are in other parts. Python's hash() of a text is another one in "
            "each process; a checksum of its bytes is not."
        )
    return None


def _in_another_process(answer: Callable[..., Any]) -> Any:
    """What a producer would say that was started elsewhere: with another seed for hash()."""
    ours = os.environ.get("PYTHONHASHSEED", "")
    there = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONHASHSEED": "2" if ours == "1" else "1"}
    asked = cloudpickle.dumps((answer, _CUSTOMERS, _PARTS))
    done = subprocess.run(
        [sys.executable, "-c", _ELSEWHERE], input=asked, env=os.environ | there, capture_output=True, check=True
    )
    return cloudpickle.loads(done.stdout)
