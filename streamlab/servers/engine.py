"""Docker itself: whether it answers, whether it has an image, and its complaints in one line."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from streamlab.errors import ServerError, UsageError

DEFAULT_IMAGE = "redis:8.6"
#: What anybody can do whose Docker fails.
INSTEAD = "or use --server process"

_ANSWER_S = 10
_IMAGE = re.compile(r"[a-z0-9]+([._/:-]+[a-z0-9]+)*(:[\w.-]+)?(@sha256:[0-9a-f]{64})?", re.ASCII)
_OWN_REPOSITORIES = ("redis", "valkey")


@contextmanager
def engine() -> Iterator[Any]:
    """Give a connection to Docker (docker.DockerClient), closed afterwards.

    Raises `ServerError` saying why there is none, and what to do.
    """
    from docker.errors import DockerException
    from testcontainers.core.docker_client import DockerClient, get_docker_host

    where = get_docker_host() or "unix:///var/run/docker.sock"
    try:
        _knock(where)
        docker = DockerClient(timeout=_ANSWER_S).client
    except (DockerException, OSError, ValueError) as error:
        fix = "start it, or install it (https://docs.docker.com/get-docker)"
        if isinstance(error, PermissionError):
            fix = "join the group docker (`sudo usermod -aG docker $USER`) and log in again"
        raise ServerError(f"Docker does not answer at {where} ({said_by(error)}): {fix}, {INSTEAD}") from error
    try:
        yield docker
    finally:
        docker.close()


def images() -> list[str]:
    """Return the tags of the Redis and Valkey images that Docker has, the default one first."""
    with engine() as docker, explained("list its images"):
        tags = [tag for image in docker.images.list() for tag in image.tags]
    ours = [tag for tag in tags if tag.rpartition(":")[0].rpartition("/")[2] in _OWN_REPOSITORIES]
    return sorted(ours, key=lambda tag: (tag != DEFAULT_IMAGE, tag))


def see_to_image(docker: Any, image: str) -> None:
    """Return once the engine has `image`, pulled if need be.

    Raises `UsageError` for what cannot be a name, `ServerError` for an image that cannot be had.
    """
    from docker.errors import DockerException, ImageNotFound

    if not _IMAGE.fullmatch(image):
        raise UsageError(f"{image!r} cannot be an image's name: write it like redis:8.6 or valkey/valkey:9.1")
    with explained("look for the image"), suppress(ImageNotFound):
        docker.images.get(image)
        return
    try:
        docker.images.pull(image)
    except (DockerException, OSError) as error:
        if response := getattr(error, "response", None):
            response.close()  # else its socket stays open
        raise ServerError(
            f"Docker has no image {image}, and cannot pull it ({said_by(error)}): "
            f"check its name and the network, name an image that `docker images` shows, {INSTEAD}"
        ) from error


def _knock(where: str) -> None:
    """See whether anybody is there, since Docker's library says it in four wrappings, and leaves a socket open."""
    parts = urlsplit(where)
    if parts.hostname not in (None, "localhost", "127.0.0.1", "::1"):
        raise ServerError(
            f"Docker is on another machine ({parts.hostname}), whose loopback is not ours: unset DOCKER_HOST, {INSTEAD}"
        )
    if parts.scheme == "unix":
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(parts.path)
    elif parts.hostname and parts.port:
        socket.create_connection((parts.hostname, parts.port), _ANSWER_S).close()


@contextmanager
def explained(what: str, fix: str = "see `docker ps -a`") -> Iterator[None]:
    """Turn Docker's refusal to do `what` into a `ServerError`."""
    from docker.errors import DockerException

    try:
        yield
    except (DockerException, OSError) as error:
        raise ServerError(f"Docker did not {what} ({said_by(error)}): {fix}, {INSTEAD}") from error


def said_by(error: BaseException) -> str:
    """Return what Docker, or the way to it, complained about: in one line."""
    said = getattr(error, "explanation", None) or getattr(error, "strerror", None) or error
    return " ".join(str(said).split()).rstrip(".")
