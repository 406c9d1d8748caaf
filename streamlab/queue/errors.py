"""What a handler, a producer or a connection reports, and what an error of Redis means for who meets it."""

from collections.abc import Sequence

from redis import exceptions as redis_errors


class PermanentError(Exception):
    """Raised by a handler: trying again cannot help. The message is dead-lettered at once."""


class ReplyLostError(redis_errors.ConnectionError):
    """The connection broke between a command and its reply: it may have happened, or not."""


class _ProducerError(Exception):
    """What `Producer.add_many` reports.

    Attributes:
        added: entry IDs of the messages that certainly were added, in order.
        unknown: task IDs of the messages that may be in the stream, or not.
    """

    def __init__(self, text: str, *, added: Sequence[str] = (), unknown: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.added = list(added)
        self.unknown = list(unknown)


class NotSentError(_ProducerError, redis_errors.ConnectionError):
    """Redis could not be reached, or was not able to: what was asked for has certainly not happened. See `added`."""


class RefusedError(_ProducerError, redis_errors.ResponseError):
    """Redis refused a message (out of memory, over a size limit, not a stream, ...): it was not added. See `added`."""


class OutcomeUnknownError(_ProducerError, redis_errors.ConnectionError):
    """A producer cannot tell whether the messages in `unknown` were added: adding them again might add them twice."""


# Of the classes that redis-py makes of an error's first word; MOVED is an AskError, too, and MASTERDOWN a CLUSTERDOWN.
_UNABLE = (redis_errors.ReadOnlyError, redis_errors.BusyLoadingError, redis_errors.ClusterDownError)
LOCKED_OUT = (redis_errors.AuthenticationError, redis_errors.AuthorizationError, redis_errors.NoPermissionError)
_MISTAKEN = (redis_errors.DataError, redis_errors.AskError, redis_errors.ClusterCrossSlotError)


def is_elsewhere(error: Exception) -> bool:
    """Whether this server cannot serve now, and the same address may lead to one that can: dial again."""
    return isinstance(error, _UNABLE) or str(error).startswith(("UNBLOCKED", "NOREPLICAS"))


def is_refused_by_acl(error: Exception) -> bool:
    """Whether the user of this connection lacks a permission. Inside a script, each version words it in its own way."""
    scripted = ("ACL failure in script", "The user executing the script can't")
    return isinstance(error, redis_errors.NoPermissionError) or any(text in str(error) for text in scripted)


def is_final(error: Exception) -> bool:
    """Whether trying again cannot help: credentials, permissions, wrong key, wrong node, a server that is too old."""
    final = isinstance(error, LOCKED_OUT + _MISTAKEN) or is_refused_by_acl(error)
    return final or "WRONGTYPE" in str(error) or "nknown command" in str(error)


def is_group_gone(error: Exception) -> bool:
    """Whether the group or its stream does not exist (any more)."""
    return isinstance(error, redis_errors.ResponseError) and "NOGROUP" in str(error)
