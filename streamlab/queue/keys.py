"""Names: which are allowed, and the keys that are derived from a stream's name.

Derived keys are in the stream's own slot of a Redis Cluster, so that a script may use them together, and no two pairs
of stream and group share one.
"""

from functools import cache

from redis.crc import key_slot


def checked_name(what: str, name: object) -> str:
    """Return a name that Redis can use. Raises TypeError for one that is no text, ValueError for an empty one."""
    if not isinstance(name, str):
        raise TypeError(f"{what} is {name!r}: it must be text (str)")
    if not name:
        raise ValueError(f"{what} is empty: it must have a name")
    return name


def to_bytes(text: str) -> bytes:
    """Encode text for Redis. Surrogates become the bytes that they stand for (PEP 383): see `Message.fields`."""
    return str.encode(text, "utf-8", "surrogateescape")


def dead_stream(stream: str, group: str) -> str:
    """Name the stream that holds a group's dead letters: `{images}:resizers:dead` for stream `images`."""
    return _derived(stream, group, "dead")


def failures_hash(stream: str, group: str) -> str:
    """Name the hash of the errors of messages that wait for a retry."""
    return _derived(stream, group, "failures")


def old_dead_stream(stream: str, group: str) -> str:
    """Name the dead letters as version 0.1 did, where two queues could share one key."""
    return f"{stream}:{group}:dead"


def _derived(stream: str, group: str, what: str) -> str:
    """Put the parts together so that nobody can mistake them: the group has no ":" of its own."""
    group = group.replace("%", "%25").replace(":", "%3A")
    tag, end, _ = stream.partition("{")[2].partition("}")
    if tag and end:  # the stream's name has a hash tag: to begin with the name is to be in its slot
        return f"{stream}::{group}:{what}"
    if "}" not in stream:
        return f"{{{stream}}}:{group}:{what}"
    # A brace makes it impossible to use the name as a tag: any number of the same slot will do.
    return f"{{{_number_in(key_slot(to_bytes(stream)))}}}{stream}::{group}:{what}:tagged"


@cache
def _number_in(slot: int) -> int:
    return next(number for number in range(1 << 20) if key_slot(b"%d" % number) == slot)
