"""What the checks of exercises try an answer on: a key of their own, and entries that somebody holds."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from redis import Redis

if TYPE_CHECKING:
    from streamlab.servers import Server

GROUP = "workers"


class Killed(BaseException):
    """A worker does not catch its own death: no `except Exception` of an answer sees this one."""


@contextmanager
def key(server: Server) -> Iterator[tuple[Redis, str]]:
    """A client, and a key that is removed afterwards, with all whose names begin with it."""
    name = f"{server.prefix}exercise:{secrets.token_hex(4)}"
    with server.client() as client:
        try:
            yield client, name
        finally:
            for mine in client.scan_iter(match=f"{name}*", count=1000):
                client.unlink(mine)


@contextmanager
def stream(server: Server) -> Iterator[tuple[Redis, str]]:
    """The same, where the key is an empty stream with the group."""
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


def read(client: Redis, name: str, consumer: str, count: int) -> list[str]:
    """Have a consumer read what the group has not delivered yet, and return the IDs."""
    reply: Any = client.xreadgroup(GROUP, consumer, {name: ">"}, count=count)
    return [entry for entry, _ in reply[0][1]] if reply else []


def held(client: Redis, name: str, consumer: str, count: int) -> list[str]:
    """Add entries, and have a consumer read as many: these, unless others were waiting."""
    add(client, name, count)
    return read(client, name, consumer, count)


def age(client: Redis, name: str, consumer: str, entries: list[str], idle_ms: int) -> None:
    """Make entries that a consumer holds idle for so long."""
    claim: Any = client.xclaim
    claim(name, GROUP, consumer, 0, entries, idle=idle_ms, justid=True)


def pending(client: Redis, name: str) -> dict[str, Any]:
    """The rows of the PEL, by entry."""
    rows: Any = client.xpending_range(name, GROUP, "-", "+", 100_000)
    return {row["message_id"]: row for row in rows}
