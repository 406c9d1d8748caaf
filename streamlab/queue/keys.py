"""The names of the keys that belong to a stream; all begin with the stream's own name.

In a Redis Cluster they must be on the stream's node: name the stream with a hash tag there, as in "{images}".
"""

from __future__ import annotations


def dead_stream(stream: str, group: str) -> str:
    """The stream of a group's dead letters."""
    return f"{stream}:{group}:dead"


def failures_hash(stream: str, group: str) -> str:
    """The hash of what went wrong so far, for messages that failed and wait for another attempt."""
    return f"{stream}:{group}:failures"
