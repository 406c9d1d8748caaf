"""One connection to Redis that says what is known about every command: replied, never sent, or unknown.

A redis-py client repeats a command whose reply was lost. For a queue that is wrong in both directions: an XADD
sent twice leaves two entries, and an XREADGROUP whose reply was lost has already put entries into the pending list
of a consumer that never saw them. A Link never repeats anything. It also sends several commands in one
round trip and hands out each reply as it arrives, so that an XACK is answered while the XREADGROUP behind it blocks.
"""

from __future__ import annotations

import contextlib
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    RedisError,
    ResponseError,
)
from redis.retry import Retry

from streamlab.queue.errors import NotSentError, ReplyLostError

#: What a command may consist of.
Value = str | bytes | int | float


class Link:
    """A connection of its own, with the address and credentials of `client`.

    Args:
        client: whose settings to use; its own connections are left alone.
        timeout: seconds that a reply may take. Longer than the longest BLOCK by definition: `block` is added.
        block: seconds of the longest BLOCK that will be asked for.

    Not for several threads at a time.
    """

    def __init__(self, client: Redis, *, timeout: float = 5.0, block: float = 0.0) -> None:
        pool = client.connection_pool
        settings = dict(pool.connection_kwargs)
        settings.pop("event_dispatcher", None)
        settings |= {
            "protocol": 2,  # one shape of replies on every server
            "decode_responses": False,  # one message with bad bytes must not spoil the reply of a whole batch
            "retry": Retry(NoBackoff(), 0),
            "retry_on_error": [],
            "retry_on_timeout": False,
            "health_check_interval": 0,
            "socket_timeout": timeout + block,
            "socket_connect_timeout": timeout,
        }
        self._connection: Any = pool.connection_class(**settings)
        self._owed = 0  # replies that were asked for and not yet received

    @property
    def connected(self) -> bool:
        """Whether there is a connection; a broken one may only be noticed by using it."""
        return self._connection.is_connected  # type: ignore[no-any-return]

    def send(self, *commands: tuple[Value, ...]) -> None:
        """Send commands in one go; `receive` once for each.

        Raises:
            NotSentError: there is no connection and none could be made.
            ReplyLostError: the connection broke while sending.
            AuthenticationError: Redis does not let us in.
        """
        if self._connection.is_connected and self._closed_by_redis():
            self.close()  # found before anything is sent on it, this is no lost reply: a new one will do
        if self._owed:  # an earlier exchange was left half-way: its replies must not be taken for the new ones
            self.close()
        try:
            self._connection.connect()
        except (AuthenticationError, AuthorizationError):
            raise
        except (RedisError, OSError) as error:
            self.close()
            raise NotSentError(str(error)) from error
        try:
            self._connection.send_packed_command(self._connection.pack_commands(commands), check_health=False)
        except (RedisError, OSError) as error:
            self.close()
            raise ReplyLostError(str(error)) from error
        self._owed = len(commands)

    def _closed_by_redis(self) -> bool:
        try:
            self._connection.can_read(timeout=0)
        except (RedisError, OSError):
            return True
        return False

    def receive(self) -> Any:
        """The next reply; an error reply is returned, not raised, so that those behind it are still read.

        Raises:
            ReplyLostError: the connection broke, or the reply did not come in time.
        """
        try:
            reply = self._connection.read_response()
        except (ResponseError, BusyLoadingError) as error:
            reply = error
        except (RedisError, OSError) as error:
            self.close()
            raise ReplyLostError(str(error)) from error
        except BaseException:
            self.close()
            raise
        self._owed -= 1
        return reply

    def call(self, *command: Value) -> Any:
        """One command and its reply; an error reply is raised."""
        self.send(command)
        reply = self.receive()
        if isinstance(reply, RedisError):
            raise reply
        return reply

    def close(self) -> None:
        """Drop the connection; the next `send` makes a new one."""
        self._owed = 0
        with contextlib.suppress(RedisError, OSError):
            self._connection.disconnect()
