"""A client of a Redis by its URL: it hides nothing, and errors name the fix."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, TimeoutError
from redis.retry import Retry

from streamlab.errors import PermissionRefusedError, ServerError, StreamlabError, UsageError

_SCHEMES = ("redis", "rediss", "unix")


def connect(url: str, **options: Any) -> Redis:
    """Return a client for `url` with the lab's manners, each of which `options` may override.

    It decodes responses, waits 5 s at most for an answer, and never sends a command twice behind the caller's
    back: redis-py's own ten silent retries can add an entry several times and strand what a reader was given.
    A blocking read needs a `socket_timeout` longer than its BLOCK. Nothing is sent until the first command.

    Raises `UsageError` for a URL that cannot be read.
    """
    scheme = url.partition("://")[0]
    if scheme not in _SCHEMES:
        raise UsageError(f"{mask(url)!r} is not a Redis URL: it starts with redis://, rediss:// or unix://")
    defaults: dict[str, Any] = {
        "decode_responses": True,
        "socket_timeout": 5.0,
        "socket_connect_timeout": 5.0,
        "retry": Retry(NoBackoff(), 0),
    }
    try:
        parts = urlsplit(url)
        if scheme != "unix" and parts.path.strip("/") and not parts.path.strip("/").isdecimal():
            raise ValueError(f"{parts.path.strip('/')!r} is not a database's number")  # redis-py would take database 0
        client = Redis.from_url(url, **(defaults | options))
        pool = client.connection_pool
        pool.connection_class(**pool.connection_kwargs)  # complains now of an option that it does not know
        return client
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"cannot read the Redis URL {mask(url)!r} ({error}): write it like redis://user:password@host:6379/0"
        ) from error


def mask(url: str) -> str:
    """Return `url` with its password as `***`, fit for a screen and a log.

    >>> mask("redis://:secret@127.0.0.1:6379/0")
    'redis://:***@127.0.0.1:6379/0'
    """
    in_front = re.sub(r"(://[^:@/]*:).*@", r"\1***@", url)
    return re.sub(r"(password=)[^&]*", r"\1***", in_front)


@contextmanager
def asking(url: str) -> Iterator[Redis]:
    """Give a client for a question or two, and explain to the user what goes wrong meanwhile.

    Raises `UsageError`, `ServerError` or `PermissionRefusedError`.
    """
    with connect(url) as client:
        try:
            yield client
        except (RedisError, OSError) as error:
            raise _explained(error, url) from error


def _explained(error: RedisError | OSError, url: str) -> StreamlabError:
    """Turn a failed conversation with `url` into the error that a user reads."""
    where, said = mask(url), " ".join(str(error).split())
    if isinstance(error, NoPermissionError):
        return PermissionRefusedError(f"{where} refuses this user: {said} Grant it the right, or name another user")
    if "NOAUTH" in said or "HELLO must be called" in said:
        return PermissionRefusedError(f"{where} asks for a password: put it into the URL, like redis://:password@host")
    if isinstance(error, AuthenticationError) or "WRONGPASS" in said:
        return PermissionRefusedError(
            f"{where} refuses the password ({said.rstrip('.')}): correct user and password in the URL, "
            "like redis://user:password@host:6379/0"
        )
    if isinstance(error, TimeoutError):
        return ServerError(f"{where} does not answer in time ({said.rstrip('.')}): is it up, and the address right?")
    return ServerError(
        f"no Redis answers at {where} ({said.rstrip('.')}): start it there, correct the URL, or use --server process"
    )
