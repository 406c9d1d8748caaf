"""What is done to a consumer group as a whole: made, tidied up, and its stream trimmed or in danger."""

from __future__ import annotations

import logging

from redis.exceptions import ResponseError

from streamlab.queue import scripts
from streamlab.queue.connection import Connection
from streamlab.queue.errors import is_group_gone
from streamlab.queue.keys import to_bytes

log = logging.getLogger(__name__)


def create_group(connection: Connection, stream: str, group: str, *, start: str = "0") -> bool:
    """Make the group, and the stream if it does not exist; whether it was made now.

    Args:
        connection: connection to Redis.
        stream: key of the stream.
        group: name of the group.
        start: "0" delivers what the stream already holds, "$" only what comes after.

    It is also the cure after a FLUSHALL, an eviction or XGROUP DESTROY. From "0" it may repeat what was done,
    from anywhere else it may skip what was not.
    """
    try:
        connection.call("XGROUP", "CREATE", to_bytes(stream), to_bytes(group), start, "MKSTREAM")
    except ResponseError as error:
        if str(error).startswith("BUSYGROUP"):
            return False
        raise
    return True


def leave_group(connection: Connection, stream: str, group: str, consumer: str) -> bool:
    """Delete the consumer, but only if nothing is pending for it; whether it is gone."""
    try:
        return bool(connection.run(scripts.LEAVE, *map(to_bytes, (stream, group, consumer))))
    except ResponseError as error:
        if is_group_gone(error):
            return True
        raise


def forget_idle_consumers(connection: Connection, stream: str, group: str, idle: float) -> list[str]:
    """Delete the consumers that have nothing pending and were idle for `idle` seconds; their names.

    A worker that was killed leaves its consumer behind, and Redis keeps it for ever. One that is alive and was merely
    quiet loses nothing: its next read makes it anew.
    """
    names = connection.run(scripts.FORGET, to_bytes(stream), to_bytes(group), int(idle * 1000))
    return [name.decode(errors="replace") for name in names]


def trim_finished(connection: Connection, stream: str, keep: int) -> int:
    """Remove the oldest entries that no group needs any more, down to `keep` entries; how many were removed.

    A plain MAXLEN removes by number alone, also what was never read and what is pending. Here an entry that a group has
    not read, or has read and not acknowledged, stays. At most 1,000 entries go at a time, so that Redis is never
    held up; it works from Redis 6.2 on.
    """
    return int(connection.run(scripts.TRIM, to_bytes(stream), keep))


def warn_of_eviction(connection: Connection, stream: str) -> None:
    """Log a warning if this Redis may evict the stream, a single key, as a whole when its memory is full."""
    try:
        info = connection.call("INFO", "memory").decode(errors="replace")
    except ResponseError:  # a user who may not ask is not stopped by that
        return
    settings = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    policy = settings.get("maxmemory_policy", "")
    if policy.startswith("allkeys") and settings.get("maxmemory") != "0":
        log.warning(
            "maxmemory-policy is %s: Redis may evict stream %r with all its messages when memory is full; "
            "set it to noeviction or volatile-lru",
            policy,
            stream,
        )
