"""Choose and open a server: by a word from the caller or the environment, else the best that this machine offers."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping

from streamlab.errors import StreamlabError, UnsupportedError, UsageError, what_and_fix
from streamlab.servers.base import Server
from streamlab.servers.container import ContainerServer
from streamlab.servers.engine import DEFAULT_IMAGE
from streamlab.servers.external import ExternalServer
from streamlab.servers.process import ProcessServer
from streamlab.servers.settings import Persistence

VARIABLE = "STREAMLAB_SERVER"
URL_VARIABLE = "STREAMLAB_REDIS_URL"

# A URL without its scheme, which would pass for an image with its tag.
_HOST_AND_PORT = re.compile(r"[\w.-]+:\d{4,5}")


def open_server(
    where: str | Server | None = None,
    *,
    persistence: Persistence = "none",
    settings: Mapping[str, str] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Server:
    """Return a running server.

        with open_server("redis:7.0", say=print) as server:
            ...

    Args:
        where: `auto`, `process`, `container`, an image, a URL, or a `Server`, which is returned; None: what the
            environment variable STREAMLAB_SERVER says, else `auto`. `auto` takes the Redis of STREAMLAB_REDIS_URL if
            that is set; else a container of redis:8.6, if Docker answers and has the image or can get it; else a
            private process. It never fails for want of Docker.
        persistence: how a server of the lab's own keeps its data: see `OwnServer`.
        settings: more of redis.conf for a server of the lab's own.
        say: told in one line which server it is and why.

    Raises `UsageError` for any other word, and what the chosen kind of server raises.
    """
    if isinstance(where, Server):
        return where
    why = "as asked"
    if not where:
        where, why = os.environ.get(VARIABLE) or "auto", f"{VARIABLE} is set"
    if where == "auto" and (url := os.environ.get(URL_VARIABLE)):
        where, why = url, f"{URL_VARIABLE} is set"
    server: Server
    if where == "auto":
        server, why = _best(persistence, settings)
    elif where == "process":
        server = ProcessServer(persistence=persistence, settings=settings)
    elif where == "container":
        server = ContainerServer(persistence=persistence, settings=settings)
    elif "://" in where:
        if persistence != "none" or settings:
            raise UnsupportedError(
                "persistence and settings of an external Redis are its owner's: leave them out, or use --server process"
            )
        server = ExternalServer(where)
    elif (":" in where or "/" in where) and not _HOST_AND_PORT.fullmatch(where):
        server = ContainerServer(where, persistence, settings)
    else:
        raise UsageError(
            f"unknown server {where!r}: say auto, process, container, an image such as redis:7.0, or a URL such as "
            "redis://host:6379/0 (rediss:// and unix:// too)"
        )
    say(f"server: {server.description} ({why})")
    return server


def _best(persistence: Persistence, settings: Mapping[str, str] | None) -> tuple[Server, str]:
    try:
        return ContainerServer(DEFAULT_IMAGE, persistence, settings), "Docker answers and has the image"
    except UsageError:
        raise  # a setting that no server would take
    except StreamlabError as error:
        reason, _ = what_and_fix(str(error))
    return ProcessServer(persistence=persistence, settings=settings), reason
