"""One connection to Redis that knows about every command: replied, never sent, or unknown.

A redis-py client repeats a command whose reply was lost. For a queue that is wrong in both directions: an XADD
sent twice leaves two entries, and an XREADGROUP whose reply was lost has already put entries into the pending list
of a consumer that never saw them. A `Connection` never repeats anything. It sends what was posted in one go, and reads
the replies in order as they come, so that an XACK is answered while the XREADGROUP behind it blocks.
"""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, NoPermissionError, RedisError, ResponseError
from redis.retry import Retry

from streamlab.queue.errors import LOCKED_OUT, NotSentError, ReplyLostError, is_elsewhere, is_refused_by_acl

#: What a command may consist of.
Part = str | bytes | int | float
Command = tuple[Part, ...]

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class Reply:
    """What was posted together, and what came back: one reply, or a list of several with errors in their places."""

    commands: tuple[Command, ...]
    then: Callable[[Any], None] | None  # is told what came back
    sent: bool = False
    done: bool = False
    value: Any = None

    def settle(self, value: Any) -> None:
        self.value = value
        self.done = True
        if self.then is not None:
            self.then(value)


class Connection:
    """A socket with the address and credentials of `client`, dialled when it is needed.

    Commands are posted, and leave with the next `flush`; `get` waits for a reply, and reads those before it. Several
    threads may use it; while one waits for a reply, the others wait for it. It belongs to the process that made it: a
    forked child that used it would talk into its parent's commands.

    Args:
        client: a `redis.Redis`, also from Sentinel's `master_for`; its own connections are left alone.
        timeout: seconds that a reply may take; the `block` of a command is added.
        block: seconds of the longest BLOCK that will be asked for.

    Raises TypeError for a client of another kind.
    """

    def __init__(self, client: Redis, *, timeout: float = 5.0, block: float = 0.0) -> None:
        pool = checked_client(client).connection_pool
        settings = dict(pool.connection_kwargs) | {
            "protocol": 2,  # one shape of replies on every server
            "decode_responses": False,  # one message with bad bytes must not spoil the reply of a whole batch
            "retry": Retry(NoBackoff(), 0),
            "retry_on_error": [],
            "retry_on_timeout": False,
            "health_check_interval": 0,
            "socket_timeout": timeout + block,
            "socket_connect_timeout": timeout,
        }
        settings.pop("event_dispatcher", None)
        self._raw: Any = pool.connection_class(**settings)
        self._unsent: list[Reply] = []
        self._sent: deque[Reply] = deque()
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._elsewhere = False  # the server said that it is not the one to ask now

    def post(self, *commands: Command, then: Callable[[Any], None] | None = None) -> Reply:
        """Put commands, next to each other, into what the next `flush` sends; `then` is told the reply or error."""
        reply = Reply(commands, then)
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
                self._drop(error)
                for reply in replies:
                    reply.settle(error if isinstance(error, LOCKED_OUT) else NotSentError(str(error)))
                return
            self._sent += replies
            try:
                self._raw.send_packed_command(packed, check_health=False)
            except (RedisError, OSError) as error:
                last = self._sent.pop()
                self._drop(error)
                last.settle(NotSentError(str(error)))

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

    def transaction(self, *commands: Command) -> list[Any]:
        """Run commands in MULTI and EXEC; their replies. Raises the first error among them, as `get`."""
        *queued, results = self.get(self.post(("MULTI",), *commands, ("EXEC",)))
        for reply in (*queued, *results) if isinstance(results, list) else (*queued, results):
            if isinstance(reply, Exception):
                raise reply
        return results  # type: ignore[no-any-return]

    def close(self) -> None:
        """Drop the connection; the next command makes a new one."""
        with self._lock:
            self._drop("the connection was closed")

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
                self._drop(error)
                return
            except BaseException as error:
                self._drop(f"interrupted by {type(error).__name__}")
                raise
        self._sent.popleft()
        reply.settle(values if len(values) > 1 else values[0])

    def _drop(self, why: object) -> None:
        """Drop the connection: nobody answers what was sent."""
        lost, self._sent = self._sent, deque()
        self._elsewhere = False
        with contextlib.suppress(RedisError, OSError):
            self._raw.disconnect()
        for reply in lost:
            reply.settle(ReplyLostError(str(why)))

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
    """Let an error of Redis's access control list name command and keys, which some versions leave out."""
    parts = (part.decode(errors="replace") if isinstance(part, bytes) else str(part) for part in command[:6])
    text = " ".join(part.partition("\n")[0] for part in parts)  # of a script, its name and up to three keys
    return NoPermissionError(f"{error}: {text}")


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
