"""The names of the keys that belong to a stream, all in the stream's slot of a Redis Cluster."""

from __future__ import annotations


def beside(stream: str, *parts: str) -> str:
    """A key that Redis Cluster keeps on the stream's node, so that one script may use both.

    >>> beside("images", "resizers", "dead")
    '{images}:resizers:dead'
    >>> beside("{user7}:images", "resizers", "dead")
    '{user7}:images:resizers:dead'
    """
    opened = stream.find("{")
    tagged = opened >= 0 and stream.find("}", opened) > opened + 1
    root = stream if tagged or "}" in stream else f"{{{stream}}}"
    return ":".join((root, *parts))


def dead_stream(stream: str, group: str) -> str:
    """The stream of a group's dead letters."""
    return beside(stream, group, "dead")


def failures_hash(stream: str, group: str) -> str:
    """The hash of what went wrong so far, for messages that failed and wait for another attempt."""
    return beside(stream, group, "failures")
