"""What a handler, a producer or a connection reports. All but `PermanentError` are raised by the queue."""

from __future__ import annotations

from collections.abc import Sequence

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError


class PermanentError(Exception):
    """Raised by a handler: trying again cannot help. The message goes to the dead letters at once."""


class NotSentError(RedisConnectionError):
    """Redis could not be reached, and nothing was sent: whatever was asked for has certainly not happened.

    Attributes:
        added: from `Producer.add_many`: entry IDs of the messages before that were added, in order.
    """

    def __init__(self, text: str, *, added: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.added = list(added)


class ReplyLostError(RedisConnectionError):
    """The connection broke between a command and its reply: it may have happened, or not."""


class RefusedError(ResponseError):
    """Redis answered a producer with an error (out of memory, not a stream, ...): the message was not added.

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
