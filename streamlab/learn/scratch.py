"""What an answer is tried on: a stream of its own, and a client that lets something happen before any command."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from redis import Redis

from streamlab.servers import Server

GROUP = "workers"
TOO_MANY = 200  # commands: an answer that sends more goes round in circles
HOUR = 3_600_000  # ms
_IN_PARTS = " (A pipeline with transaction=False saves round trips and is not one step.)"


class Killed(BaseException):
    """The death of a process: no `except Exception` of an answer catches it."""


class Watched(Redis):
    """A client, on the connections of another. Something happens before its command number `at`, counted from 0.

    What happens is the death of its process, unless `happens` is set to something else. A transaction is one command,
    another pipeline as many as are in it.
    """

    def __init__(self, client: Redis, at: int) -> None:
        super().__init__(connection_pool=client.connection_pool)
        self.at = at
        self.happens: Callable[[], object] = _die
        self.happened = self.died = self.in_parts = False
        self.sent: list[tuple[Any, ...]] = []

    def call(self, answer: Callable[..., Any], *arguments: Any) -> Any:
        """Return what an answer returns that uses this client; None, and `died` is set, if it is killed."""
        try:
            return answer(self, *arguments)
        except Killed:
            self.died = True
            return None

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command, after what happens before it."""
        self._step(args)
        return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Any:
        """Return a pipeline that is one step if it is a transaction."""
        pipe = super().pipeline(transaction, shard_hint)
        send = pipe.execute

        def execute(*args: Any, **options: Any) -> Any:
            if transaction:
                self._step(("EXEC",))
                return send(*args, **options)
            commands, pipe.command_stack = pipe.command_stack, []
            self.in_parts |= len(commands) > 1
            return [self.execute_command(*words, **more) for words, more in commands]

        pipe.execute = execute  # type: ignore[method-assign]
        return pipe

    def _step(self, command: tuple[Any, ...]) -> None:
        self.sent.append(command)
        if len(self.sent) > self.at + TOO_MANY:
            raise Killed
        if len(self.sent) == self.at + 1:
            self.happened = True
            self.happens()


def _die() -> None:
    raise Killed


def at_each_command(server: Server, attempt: Callable[[Watched, Redis, str], Iterator[str]]) -> Iterator[str]:
    """Try something in a new stream for each command that an answer sends, and yield what is wrong.

    `attempt(watched, client, stream)` prepares the stream, calls the answer with `watched` and looks at what is left.
    """
    for at in range(TOO_MANY):
        with stream(server) as (client, name):
            watched = Watched(client, at)
            for hint in attempt(watched, client, name):
                yield hint + _IN_PARTS * watched.in_parts
            if not watched.happened:
                return
    yield f"{TOO_MANY} commands for one message: it goes round in circles."


@contextmanager
def key(server: Server) -> Iterator[tuple[Redis, str]]:
    """Give a client and a key; the key, and those whose names begin with it, are removed afterwards."""
    name = f"{server.prefix}exercise:{secrets.token_hex(4)}"
    with server.client() as client:
        try:
            yield client, name
        finally:
            for mine in client.scan_iter(match=f"{name}*", count=1000):
                client.unlink(mine)


@contextmanager
def stream(server: Server) -> Iterator[tuple[Redis, str]]:
    """Give the same, where the key is an empty stream with the group."""
    with key(server) as (client, name):
        client.xgroup_create(name, GROUP, id="0", mkstream=True)
        yield client, name


def add(client: Redis, name: str, count: int) -> list[str]:
    """Add entries, and return their IDs."""
    with client.pipeline(transaction=False) as adding:
        for number in range(count):
            adding.xadd(name, {"job": number})
        entries: list[str] = adding.execute()
    return entries


def read(client: Redis, name: str, consumer: str, count: int, group: str = GROUP) -> list[str]:
    """Have a consumer read what the group has not delivered yet, and return the IDs."""
    reply: Any = client.xreadgroup(group, consumer, {name: ">"}, count=count)
    return [entry for entry, _ in reply[0][1]] if reply else []


def deliver(client: Redis, name: str, consumer: str, count: int) -> list[str]:
    """Add entries, have a consumer read as many, and return their IDs: these, unless others were waiting."""
    add(client, name, count)
    return read(client, name, consumer, count)


def age(client: Redis, name: str, consumer: str, entries: list[str], idle_ms: int = HOUR) -> None:
    """Set the idle time of entries that are pending for a consumer."""
    claim: Any = client.xclaim
    claim(name, GROUP, consumer, 0, entries, idle=idle_ms, justid=True)


def pending(client: Redis, name: str) -> dict[str, Any]:
    """Return the rows of the PEL, by entry."""
    rows: Any = client.xpending_range(name, GROUP, "-", "+", 100_000)
    return {row["message_id"]: row for row in rows}


def owner(client: Redis, name: str, entry: str) -> str | None:
    """Return the consumer for whom an entry is pending."""
    row = pending(client, name).get(entry)
    return row["consumer"] if row else None
