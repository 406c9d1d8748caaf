"""One connection to Redis that knows about every command: replied, never sent, or unknown.

A redis-py client repeats a command whose reply was lost. For a queue that is wrong in both directions: an XADD
sent twice leaves two entries, and an XREADGROUP whose reply was lost has already put entries into the pending list
of a consumer that never saw them. A `Connection` never repeats anything. It sends what was posted in one go, and reads
the replies in order as they come, so that an XACK is answered while the XREADGROUP behind it blocks.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    NoPermissionError,
    RedisError,
    ResponseError,
)
from redis.retry import Retry

from streamlab.queue.errors import NotSentError, ReplyLostError, is_elsewhere, is_refused_by_acl
from streamlab.queue.scripts import Script

#: What a command may consist of.
Part = str | bytes | int | float
Command = tuple[Part, ...]

T = TypeVar("T")


class Reply:
    """What was posted together, and what came back: one reply, or a list of several with errors in their places."""

    __slots__ = ("commands", "done", "sent", "then", "value")

    def __init__(self, commands: tuple[Command, ...], then: Callable[[Any], None] | None) -> None:
        self.commands = commands
        self.then = then
        self.sent = False
        self.done = False
        self.value: Any = None

    def settle(self, value: Any) -> None:
        """Take the reply, and tell who asked to be told."""
        self.value = value
        self.done = True
        if self.then is not None:
            self.then(value)


class Connection:
    """A socket with the address and credentials of `client`, dialled when it is needed.

    Commands are posted, and leave with the next `flush`; `get` waits for a reply, and reads those before it.

    Several threads may use it; while one waits for a reply, the others wait for it. It belongs to the process that made
    it: a forked child that used it would talk into its parent's commands.

    Args:
        client: a `redis.Redis`, also from Sentinel's `master_for`; its own connections are left alone.
        timeout: seconds that a reply may take; the `block` of a command is added.
        block: seconds of the longest BLOCK that will be asked for.

    Raises TypeError for a client of another kind.
    """

    def __init__(self, client: Redis, *, timeout: float = 5.0, block: float = 0.0) -> None:
        pool = checked_client(client).connection_pool
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
        self._raw: Any = pool.connection_class(**settings)
        self._unsent: list[Reply] = []
        self._sent: deque[Reply] = deque()
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._elsewhere = False  # the server said that it is not the one to ask now

    def post(self, *commands: Command, then: Callable[[Any], None] | None = None) -> Reply:
        """Put commands, next to each other, into what the next `flush` sends; `then` is told the reply or error."""
        return self.post_reply(Reply(commands, then))

    def post_reply(self, reply: Reply) -> Reply:
        """Put the commands of `reply` into what the next `flush` sends."""
        with self._lock:
            self._unsent.append(reply)
        return reply

    def flush(self) -> None:
        """Send what was posted. What goes wrong is told by `get`.

        NotSentError: the connection could not be made, or it broke before the last byte of the last command had left:
        Redis has certainly not executed that one. ReplyLostError: nobody knows.
        """
        if self._pid != os.getpid():
            raise RuntimeError(
                f"this connection belongs to process {self._pid}, not to its forked child {os.getpid()}: "
                "end a child that a handler forks with os._exit, or fork before Worker.run"
            )
        with self._lock:
            replies, self._unsent = self._unsent, []
            if not replies:
                return
            if not self._sent and self._raw.is_connected and (self._elsewhere or self._closed_by_redis()):
                self.close()  # found before anything is sent on it, this is no lost reply: a new one will do
            for reply in replies:
                reply.sent = True
            try:
                packed = self._raw.pack_commands([command for reply in replies for command in reply.commands])
                self._raw.connect()
            except (RedisError, OSError) as error:
                self._fail(error if isinstance(error, (AuthenticationError, AuthorizationError))
                           else NotSentError(str(error)), replies)  # fmt: skip
                return
            try:
                self._raw.send_packed_command(packed, check_health=False)
            except (RedisError, OSError) as error:
                self._fail(ReplyLostError(str(error)), replies[:-1])
                self._fail(NotSentError(str(error)), replies[-1:])
                return
            self._sent += replies

    def get(self, reply: Reply) -> Any:
        """The reply of a command that was posted.

        Raises:
            NotSentError, ReplyLostError: see `flush`.
            AuthenticationError, AuthorizationError: Redis does not let us in.
            ResponseError: Redis answered with an error. If it names a missing permission, it names the command, too.
        """
        with self._lock:
            if not reply.sent:
                self.flush()
            while not reply.done:
                self._read()
        if isinstance(reply.value, Exception):
            raise reply.value
        return reply.value

    def call(self, *command: Part) -> Any:
        """Send one command and return its reply; raises as `get`."""
        return self.get(self.post(command))

    def run(self, script: Script, *keys_and_arguments: Any) -> Any:
        """Run a script; raises as `get`."""
        return self.call(*script.command(*keys_and_arguments))

    def close(self) -> None:
        """Drop the connection; the next command makes a new one."""
        with self._lock:
            self._fail(ReplyLostError("the connection was closed"), [])

    def _read(self) -> None:
        """Settle the oldest reply that is outstanding."""
        reply = self._sent[0]
        values = []
        for command in reply.commands:
            try:
                values.append(self._raw.read_response())
            except (ResponseError, BusyLoadingError) as error:
                self._elsewhere = self._elsewhere or is_elsewhere(error)
                values.append(_naming(command, error) if is_refused_by_acl(error) else error)
            except (RedisError, OSError) as error:
                self._fail(ReplyLostError(str(error)), [])
                return
            except BaseException as error:
                self._fail(ReplyLostError(f"interrupted by {type(error).__name__}"), [])
                raise
        self._sent.popleft()
        reply.settle(values if len(values) > 1 else values[0])

    def _fail(self, error: Exception, replies: list[Reply]) -> None:
        """Drop the connection: nobody answers what was sent, and `error` is the answer to `replies`."""
        lost, self._sent = list(self._sent), deque()
        self._elsewhere = False
        with contextlib.suppress(RedisError, OSError):
            self._raw.disconnect()
        for reply in lost:
            reply.settle(ReplyLostError(str(error)))
        for reply in replies:
            reply.settle(error)

    def _closed_by_redis(self) -> bool:
        try:
            return bool(self._raw.can_read(timeout=0))  # nobody asked: this is an error message, or the end
        except (RedisError, OSError):
            return True


def checked_client(client: object) -> Redis:
    """Return `client` if it is one that a `Connection` can use; raises TypeError that says which is."""
    if isinstance(client, Redis):
        return client
    kind = f"{type(client).__module__}.{type(client).__qualname__}"
    advice = {
        "cluster": "pass a redis.Redis of the node that holds the stream; RedisCluster is not supported yet",
        "asyncio": "pass a redis.Redis; for several messages at a time set threads=",
        "sentinel": "pass what its master_for(...) returns",
    }
    found = next((text for word, text in advice.items() if word in kind), "pass a redis.Redis")
    raise TypeError(f"client is a {kind}: {found}")


def _naming(command: Command, error: Exception) -> NoPermissionError:
    """Make an error of Redis's access control list name the command and its keys, which some versions leave out."""
    name, *rest = (part.decode(errors="replace") if isinstance(part, bytes) else str(part) for part in command)
    if name == "EVAL":
        name, keys = f"the script {Script.name_of(rest[0])}", rest[2 : 2 + int(rest[1])]
    elif name == "XREADGROUP":
        keys = rest[-2:-1]
    else:
        keys = rest[1:2] if name in ("XGROUP", "XINFO") else rest[:1]
    return NoPermissionError(f"{error}: {name} on {', '.join(map(repr, keys))} needs this permission")


class PerProcess(Generic[T]):
    """Something that a forked child must not share with its parent: called in another process, it is made anew."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made = (os.getpid(), make())

    def __call__(self) -> T:
        pid, made = self._made
        if pid != os.getpid():
            made = self._make()
            self._made = (os.getpid(), made)
        return made
