"""What a handler, a producer or a connection reports, and what an error of Redis means for who meets it."""

from __future__ import annotations

from collections.abc import Sequence

from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    DataError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    ReadOnlyError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError


class PermanentError(Exception):
    """Raised by a handler: trying again cannot help. The message is dead-lettered at once."""


class NotSentError(RedisConnectionError):
    """Redis could not be reached, or was not able to: what was asked for has certainly not happened.

    Attributes:
        added: from `Producer.add_many`: entry IDs of the messages before that were added, in order.
    """

    def __init__(self, text: str, *, added: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.added = list(added)


class ReplyLostError(RedisConnectionError):
    """The connection broke between a command and its reply: it may have happened, or not."""


class RefusedError(ResponseError):
    """Redis refused a producer's message (out of memory, over a size limit, not a stream, ...): it was not added.

    Attributes:
        added: from `Producer.add_many`: entry IDs of the messages before that were added, in order.
    """

    def __init__(self, text: str, *, added: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.added = list(added)


class OutcomeUnknownError(RedisConnectionError):
    """A producer cannot tell whether its messages were added, and adding them again might add them twice.

    Attributes:
        added: entry IDs of the messages that certainly were added, in order.
        unknown: task IDs of the messages that may be in the stream, or not.
    """

    def __init__(self, text: str, *, added: Sequence[str] = (), unknown: Sequence[str]) -> None:
        super().__init__(text)
        self.added = list(added)
        self.unknown = list(unknown)


def is_elsewhere(error: Exception) -> bool:
    """Whether this server cannot serve now, and the same address may lead to one that can: dial again."""
    unable = (ReadOnlyError, BusyLoadingError, MasterDownError, ClusterDownError)
    return isinstance(error, unable) or str(error).startswith(("UNBLOCKED", "NOREPLICAS"))


def is_refused_by_acl(error: Exception) -> bool:
    """Whether the user of this connection lacks a permission. Inside a script, each version words it in its own way."""
    scripted = ("ACL failure in script", "The user executing the script can't")
    return isinstance(error, NoPermissionError) or any(text in str(error) for text in scripted)


def is_final(error: Exception) -> bool:
    """Whether trying again cannot help: credentials, permissions, wrong key, wrong node, a server that is too old."""
    final = (AuthenticationError, AuthorizationError, NoPermissionError, DataError)
    wrong_node = (MovedError, AskError, ClusterCrossSlotError)
    text = str(error)
    return isinstance(error, (*final, *wrong_node)) or "WRONGTYPE" in text or "nknown command" in text


def is_group_gone(error: Exception) -> bool:
    """Whether the group or its stream does not exist (any more)."""
    return isinstance(error, ResponseError) and "NOGROUP" in str(error)
