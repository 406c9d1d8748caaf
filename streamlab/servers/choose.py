"""Which server it is to be: one word or a URL from the user, or the best that this machine offers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from streamlab.errors import StreamlabError, UnsupportedError, UsageError
from streamlab.servers.base import Server
from streamlab.servers.external import ExternalServer
from streamlab.servers.lines import what_and_fix
from streamlab.servers.process import ProcessServer
from streamlab.servers.settings import Persistence

URL_VARIABLE = "STREAMLAB_REDIS_URL"
DEFAULT_IMAGE = "redis:8.6"


def _silent(line: str) -> None:
    """Say nothing."""


def open_server(
    where: str | Server | None = "auto",
    *,
    image: str = DEFAULT_IMAGE,
    persistence: Persistence = "none",
    settings: Mapping[str, str] | None = None,
    say: Callable[[str], None] = _silent,
) -> Server:
    """Return a running server: `auto`, `process`, `container`, a URL, or a server that is handed through.

        with open_server("auto", say=print) as server:
            ...

    `auto` takes the Redis of STREAMLAB_REDIS_URL if that is set; else a container of `image`, if Docker answers and
    has the image or can get it; else a private process. It never fails for want of Docker. `say` is told in one line
    which it is and why. `persistence` and `settings` are for the lab's own servers: `ProcessServer` explains them.

    Raises `UsageError` for any other word, and what the chosen kind of server raises.
    """
    if isinstance(where, Server):
        return where
    where = where or "auto"
    why = "as asked"
    if where == "auto" and (url := os.environ.get(URL_VARIABLE)):
        where, why = url, f"{URL_VARIABLE} is set"
    if "://" in where:
        if persistence != "none" or settings:
            raise UnsupportedError(
                "persistence and settings of an external Redis are its owner's: leave them out, or use --server process"
            )
        server: Server = ExternalServer(where)
    elif where == "process":
        server = ProcessServer(persistence=persistence, settings=settings)
    elif where == "container":
        server = _container(image, persistence, settings)
    elif where == "auto":
        server, why = _best(image, persistence, settings)
    else:
        raise UsageError(
            f"unknown server {where!r}: say auto, process, container, or a URL such as redis://host:6379/0 "
            "(rediss:// and unix:// too)"
        )
    say(f"server: {server.description} ({why})")
    return server


def _best(image: str, persistence: Persistence, settings: Mapping[str, str] | None) -> tuple[Server, str]:
    try:
        return _container(image, persistence, settings), "Docker answers and has the image"
    except UsageError:
        raise  # a name or a setting that no server would take
    except StreamlabError as error:
        reason = what_and_fix(str(error))[0]
    return ProcessServer(persistence=persistence, settings=settings), reason


def _container(image: str, persistence: Persistence, settings: Mapping[str, str] | None) -> Server:
    from streamlab.servers.container import ContainerServer

    return ContainerServer(image, persistence, settings)
