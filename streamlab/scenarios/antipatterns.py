"""Antipatterns: workers and producers with one planted mistake each; and `plain`, the same loop without one.

Every worker here is what `Experiment(worker=...)` takes: `work(client, stream, group, consumer, handle)` with plain
redis-py. On the command line: `streamlab run kill --worker streamlab.scenarios.antipatterns:never_claims`.
`streamlab scenarios` has an experiment for each that shows what it costs.

The loops are written to be compared: what differs from `plain` is the mistake.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from redis import Redis
from redis.exceptions import ConnectionError, ResponseError

from streamlab.queue.keys import dead_stream

Fields = dict[Any, Any]  # text both, in redis-py's own wide type
Handle = Callable[[str, Fields], None]
Rows = list[tuple[str, Fields]]

IDLE_MS = 400  # without a sign of life for so long, an entry may be claimed
COUNT = 5
BLOCK_MS = 100
MAX_DELIVERIES = 4


def new(client: Redis, stream: str, group: str, consumer: str, count: int = COUNT) -> Rows:
    """Entries that nobody has had, after a short wait for them."""
    return _rows(client.xreadgroup(group, consumer, {stream: ">"}, count=count, block=BLOCK_MS))


def own(client: Redis, stream: str, group: str, consumer: str) -> Rows:
    """What is pending for this consumer: after a restart, what the process before it had begun."""
    return _rows(client.xreadgroup(group, consumer, {stream: "0"}))


def stale(client: Redis, stream: str, group: str, consumer: str, cursor: str) -> tuple[str, Rows]:
    """The next cursor, and entries that are idle for too long, now ours."""
    reply: Any = client.xautoclaim(stream, group, consumer, IDLE_MS, cursor, count=COUNT)
    return reply[0], reply[1]


def dead_letter(client: Redis, stream: str, group: str, entry: str, fields: Fields) -> None:
    """Move a message to the dead letters, in one step."""
    with client.pipeline(transaction=True) as both:
        both.xadd(dead_stream(stream, group), {**fields, "id": entry, "reason": "deliveries"})
        both.xack(stream, group, entry)
        both.execute()


def deliveries(client: Redis, stream: str, group: str, entry: str) -> int:
    """How often Redis says that a pending entry was delivered."""
    rows: Any = client.xpending_range(stream, group, min=entry, max=entry, count=1)
    return int(rows[0]["times_delivered"]) if rows else 0


def _rows(reply: Any) -> Rows:
    if isinstance(reply, dict):  # RESP3's shape
        reply = list(reply.items())
    rows = reply[0][1] if reply else []
    rows = rows[0] if rows and isinstance(rows[0], list) else rows
    return [(entry, fields) for entry, fields in rows if fields]


def plain(client: Redis, stream: str, group: str, consumer: str, handle: Handle) -> None:
    """At least once: XACK after the work; own entries first; the stale ones claimed, and given up in the end."""
    rows, cursor = own(client, stream, group, consumer), "0-0"
    while True:
        for entry, fields in rows:
            if deliveries(client, stream, group, entry) > MAX_DELIVERIES:
                dead_letter(client, stream, group, entry, fields)
                continue
            with suppress(RuntimeError):  # it stays pending, and its turn comes again
                handle(entry, fields)
                client.xack(stream, group, entry)
        cursor, rows = stale(client, stream, group, consumer, cursor)
        rows += new(client, stream, group, consumer)


def acks_before_work(client: Redis, stream: str, group: str, consumer: str, handle: Handle) -> None:
    """XACK first: whatever dies between the two has lost the message."""
    rows, cursor = own(client, stream, group, consumer), "0-0"
    while True:
        for entry, fields in rows:
            client.xack(stream, group, entry)
            with suppress(RuntimeError):
                handle(entry, fields)
        cursor, rows = stale(client, stream, group, consumer, cursor)
        rows += new(client, stream, group, consumer)


def acks_the_batch(client: Redis, stream: str, group: str, consumer: str, handle: Handle) -> None:
    """One XACK for the batch as soon as its first message is done: the others are lost with the worker."""
    rows, cursor = own(client, stream, group, consumer), "0-0"
    while True:
        for n, (entry, fields) in enumerate(rows):
            with suppress(RuntimeError):
                handle(entry, fields)
            if n == 0:
                client.xack(stream, group, *[entry for entry, _ in rows])
        cursor, rows = stale(client, stream, group, consumer, cursor)
        rows += new(client, stream, group, consumer)


def never_acks(client: Redis, stream: str, group: str, consumer: str, handle: Handle) -> None:
    """No XACK at all: the PEL grows, and a restart does everything again."""
    rows = own(client, stream, group, consumer)
    while True:
        for entry, fields in rows:
            with suppress(RuntimeError):
                handle(entry, fields)
        rows = new(client, stream, group, consumer)


def never_claims(client: Redis, stream: str, group: str, consumer: str, handle: Handle) -> None:
    """No claiming: what a dead worker held waits for a restart under the same name, if there is one."""
    rows = own(client, stream, group, consumer)
    while True:
        for entry, fields in rows:
            with suppress(RuntimeError):
                handle(entry, fields)
                client.xack(stream, group, entry)
        rows = new(client, stream, group, consumer)


def claims_with_absolute_time(client: Redis, stream: str, group: str, consumer: str, handle: Handle) -> None:
    """A moment is passed where XAUTOCLAIM expects a duration: nothing is ever idle since 1970."""
    rows = own(client, stream, group, consumer)
    while True:
        for entry, fields in rows:
            with suppress(RuntimeError):
                handle(entry, fields)
                client.xack(stream, group, entry)
        moment = int(time.time() * 1000) - IDLE_MS
        reply: Any = client.xautoclaim(stream, group, consumer, moment, "0-0", count=COUNT)
        rows = reply[1] + new(client, stream, group, consumer)


def claims_when_idle(client: Redis, stream: str, group: str, consumer: str, handle: Handle) -> None:
    """Claiming only when nothing new comes: on a busy stream that is never."""
    rows, cursor = own(client, stream, group, consumer), "0-0"
    while True:
        for entry, fields in rows:
            with suppress(RuntimeError):
                handle(entry, fields)
                client.xack(stream, group, entry)
        rows = new(client, stream, group, consumer)
        if not rows:
            cursor, rows = stale(client, stream, group, consumer, cursor)


def always_from_zero(client: Redis, stream: str, group: str, consumer: str, handle: Handle) -> None:
    """Every XAUTOCLAIM starts at 0-0: entries that somebody keeps alive there hide all that is behind them."""
    rows, next_beat = own(client, stream, group, consumer), 0.0
    while True:
        for n, (entry, fields) in enumerate(rows):
            if time.monotonic() > next_beat:  # a heartbeat: XCLAIM to oneself of the entries in flight
                client.xclaim(stream, group, consumer, 0, [entry for entry, _ in rows[n:]], justid=True)
                next_beat = time.monotonic() + IDLE_MS / 4000
            with suppress(RuntimeError):
                handle(entry, fields)
                client.xack(stream, group, entry)
        reply: Any = client.xautoclaim(stream, group, consumer, IDLE_MS, "0-0", count=1)
        rows = reply[1] + new(client, stream, group, consumer, count=50)


def retries_for_ever(client: Redis, stream: str, group: str, consumer: str, handle: Handle) -> None:
    """No limit on deliveries: a message that always fails is tried until somebody reads the log."""
    rows, cursor = own(client, stream, group, consumer), "0-0"
    while True:
        for entry, fields in rows:
            with suppress(RuntimeError):
                handle(entry, fields)
                client.xack(stream, group, entry)
        cursor, rows = stale(client, stream, group, consumer, cursor)
        rows += new(client, stream, group, consumer)


def drops_on_error(client: Redis, stream: str, group: str, consumer: str, handle: Handle) -> None:
    """XACK in a `finally`: what failed is acknowledged like what was done."""
    rows, cursor = own(client, stream, group, consumer), "0-0"
    while True:
        for entry, fields in rows:
            with suppress(RuntimeError):
                try:
                    handle(entry, fields)
                finally:
                    client.xack(stream, group, entry)
        cursor, rows = stale(client, stream, group, consumer, cursor)
        rows += new(client, stream, group, consumer)


def shares_a_name(client: Redis, stream: str, group: str, consumer: str, handle: Handle) -> None:
    """One consumer name for all: they share a PEL, and who restarts begins what another is in the middle of."""
    plain(client, stream, group, "worker", handle)


def deletes_consumers(client: Redis, stream: str, group: str, consumer: str, handle: Handle) -> None:
    """Tidies up: XGROUP DELCONSUMER of who was not heard of for a while, and with it what that one had pending."""
    rows, cursor = own(client, stream, group, consumer), "0-0"
    while True:
        for entry, fields in rows:
            with suppress(RuntimeError):
                handle(entry, fields)
                client.xack(stream, group, entry)
        consumers: Any = client.xinfo_consumers(stream, group)
        for other in consumers:
            if other["name"] != consumer and other["idle"] > IDLE_MS / 2:
                client.xgroup_delconsumer(stream, group, other["name"])
        cursor, rows = stale(client, stream, group, consumer, cursor)
        rows += new(client, stream, group, consumer)


def loses_a_batch_on_reconnect(client: Redis, stream: str, group: str, consumer: str, handle: Handle) -> None:
    """After a broken connection it goes on with what is new: a reply that was lost on its way is pending for ever."""
    client.connection_pool.connection_kwargs["retry"] = None
    while True:
        try:
            for entry, fields in new(client, stream, group, consumer):
                with suppress(RuntimeError):
                    handle(entry, fields)
                    client.xack(stream, group, entry)
        except ConnectionError:
            time.sleep(0.05)


def spins_on_nogroup(client: Redis, stream: str, group: str, consumer: str, handle: Handle) -> None:
    """An error of Redis is tried again at once, also the one that will never go away."""
    rows, cursor = own(client, stream, group, consumer), "0-0"
    while True:
        with suppress(ResponseError):
            for entry, fields in rows:
                with suppress(RuntimeError):
                    handle(entry, fields)
                    client.xack(stream, group, entry)
            rows = []
            cursor, rows = stale(client, stream, group, consumer, cursor)
            rows += new(client, stream, group, consumer)


def starts_at_the_end(client: Redis, stream: str, group: str, consumer: str, handle: Handle) -> None:
    """A group that is gone is made again at `$`: what nobody had read by then is skipped."""
    rows, cursor = own(client, stream, group, consumer), "0-0"
    while True:
        try:
            for entry, fields in rows:
                with suppress(RuntimeError):
                    handle(entry, fields)
                    client.xack(stream, group, entry)
            cursor, rows = stale(client, stream, group, consumer, cursor)
            rows += new(client, stream, group, consumer)
        except ResponseError as error:
            rows = []
            if "NOGROUP" in str(error):
                with suppress(ResponseError):
                    client.xgroup_create(stream, group, id="$", mkstream=True)


def dead_letters_without_ack(client: Redis, stream: str, group: str, consumer: str, handle: Handle) -> None:
    """The dead letter is written and the message not acknowledged: it is given up, and goes on."""
    rows, cursor = own(client, stream, group, consumer), "0-0"
    while True:
        for entry, fields in rows:
            try:
                handle(entry, fields)
                client.xack(stream, group, entry)
            except RuntimeError:
                client.xadd(dead_stream(stream, group), {**fields, "id": entry, "reason": "error"})
        cursor, rows = stale(client, stream, group, consumer, cursor)
        rows += new(client, stream, group, consumer)


def newest_first(client: Redis, stream: str, group: str, consumer: str, handle: Handle) -> None:
    """A batch is worked through from its end: no two messages of a key are done in their order."""
    rows, cursor = own(client, stream, group, consumer), "0-0"
    while True:
        for entry, fields in reversed(rows):
            with suppress(RuntimeError):
                handle(entry, fields)
                client.xack(stream, group, entry)
        cursor, rows = stale(client, stream, group, consumer, cursor)
        rows += new(client, stream, group, consumer)


def adds_again(client: Redis, stream: str, fields: Fields) -> str:
    """A producer that tries again whatever failed, as many client libraries do: a lost reply becomes a second entry."""
    while True:
        try:
            return str(client.xadd(stream, fields))
        except ConnectionError:
            time.sleep(0.02)


def trims_too_short(client: Redis, stream: str, fields: Fields) -> str:
    """A producer that keeps ten entries, read or not: a backlog of more is gone."""
    return str(client.xadd(stream, fields, maxlen=10, approximate=False))
