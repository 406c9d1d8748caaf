"""What is done to a consumer group as a whole: made, tidied up, and its stream in danger."""

import logging
import re

from redis.exceptions import ResponseError

from streamlab.queue import scripts
from streamlab.queue.connection import Connection, Part

log = logging.getLogger(__name__)


def create_group(connection: Connection, stream: Part, group: Part, *, start: str = "0") -> bool:
    """Make the group, and the stream if it does not exist; whether it was made now.

    "0" delivers what the stream already holds, "$" only what comes after. It is also the cure after a FLUSHALL, an
    eviction or XGROUP DESTROY. From "0" it may repeat what was done, from anywhere else it may skip what was not.
    """
    try:
        connection.call("XGROUP", "CREATE", stream, group, start, "MKSTREAM")
    except ResponseError as error:
        if str(error).startswith("BUSYGROUP"):
            return False
        raise
    return True


def forget_consumers(connection: Connection, stream: Part, group: Part, idle: float, leaving: Part = "") -> None:
    """Delete the consumers that have nothing pending, if they were idle for `idle` seconds or are `leaving`.

    A worker that was killed leaves its consumer behind, and Redis keeps it for ever. One that is alive and was merely
    quiet loses nothing: its next read makes it anew.
    """
    connection.call("EVAL", scripts.FORGET, 1, stream, group, leaving, int(idle * 1000))


def warn_of_eviction(connection: Connection, stream: str) -> None:
    """Log a warning if this Redis may evict the stream, a single key, as a whole when its memory is full."""
    try:
        info = connection.call("INFO", "memory").decode(errors="replace")
    except ResponseError:  # a user who may not ask is not stopped by that
        return
    policy = re.search(r"maxmemory_policy:(allkeys\S*)", info)
    if policy and "maxmemory:0\r" not in info:
        text = "maxmemory-policy is %s: Redis may evict stream %r with all its messages when memory is full; "
        log.warning(text + "set it to noeviction or volatile-lru", policy[1], stream)
