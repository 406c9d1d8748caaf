"""Where a Redis comes from, and how it is broken: a private process, a container, or somebody's by its URL.

    from streamlab.servers import open_server

    with open_server("auto", say=print) as server:
        redis = server.client()

`Server` is the contract that all of them keep. Docker's libraries are loaded when a container is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamlab.servers.base import ABILITIES, Server
from streamlab.servers.choose import DEFAULT_IMAGE, open_server
from streamlab.servers.external import ExternalServer
from streamlab.servers.process import ProcessServer
from streamlab.servers.settings import Persistence

if TYPE_CHECKING:
    from streamlab.servers.container import ContainerServer

__all__ = [
    "ABILITIES",
    "DEFAULT_IMAGE",
    "ContainerServer",
    "ExternalServer",
    "Persistence",
    "ProcessServer",
    "Server",
    "open_server",
]


def __getattr__(name: str) -> Any:
    if name == "ContainerServer":
        from streamlab.servers.container import ContainerServer

        return ContainerServer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
