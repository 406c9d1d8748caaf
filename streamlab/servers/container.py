"""A Redis in Docker, by testcontainers: published on loopback only, behind a password, removed with its data."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from streamlab.errors import ServerError
from streamlab.servers.appendonly import MANIFEST, ONE_FILE, cut_archive, growing, unpacked
from streamlab.servers.base import STOP_S, Server
from streamlab.servers.engine import INSTEAD, engine, explained, port_taken, said_by, see_to_image
from streamlab.servers.guard import Guard
from streamlab.servers.ports import free_port
from streamlab.servers.reach import with_password
from streamlab.servers.settings import Persistence, config_text

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_IMAGE = "redis:8.6"
LABEL = "streamlab.owner"

_HOST = "127.0.0.1"
_PORT = 6379
_DATA = PurePosixPath("/data")
_CONFIG = "/tmp/streamlab.conf"
_TRIES = 5


class ContainerServer(Server):
    """A Redis or Valkey in a container of its own, up when the object exists.

        with ContainerServer() as server:                       # redis:8.6
            server.client().ping()
        ContainerServer("valkey/valkey:9.1", persistence="aof-always", settings={"maxmemory": "10mb"})

    The password is in a file copied into the container: `docker inspect` and the list of processes do not show it.
    A guardian removes the container should this process be killed, so testcontainers' own reaper and its image are
    not needed.

    Raises `UsageError` for what cannot be an image's name, and `ServerError`, with the fix, where Docker does not
    answer, the image is missing and cannot be pulled within three minutes, or it holds no Redis.
    """

    kind = "container"

    def __init__(
        self,
        image: str = DEFAULT_IMAGE,
        persistence: Persistence = "none",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.image = image
        self._password = secrets.token_urlsafe(24)
        ours = {
            "bind": "0.0.0.0",  # of the container: Docker publishes it on the machine's loopback alone
            "port": str(_PORT),
            "requirepass": self._password,
            "protected-mode": "yes",
            "daemonize": "no",
            "dir": str(_DATA),
            "logfile": '""',
        }
        self.persistence = persistence
        self._config = config_text(ours, persistence, settings).encode()
        with engine() as docker:
            see_to_image(docker, image)
        self._name = f"streamlab-{secrets.token_hex(8)}"
        self._guard = Guard("container", self._name)
        self._container: Any = None
        super().__init__()
        try:
            self._create()
            self._wait_until_ready()
            _ = self.name  # asked while it answers: a description must not need the server
        except BaseException:
            self.stop()
            raise

    @property
    def container_id(self) -> str:
        """Docker's number of the container, which stays the same when it is restarted."""
        return str(self._container.get_container_id())

    def _address(self) -> str:
        return with_password(self._password, _HOST, self._published())

    def _describe(self) -> str:
        if self.alive():
            return f"container {self.image}, {self.name}, {_HOST}:{self._published()}"
        return f"container {self.image}, {self.name}, not running"

    def _alive(self) -> bool:
        return self._status() in ("running", "paused")

    def _kill(self) -> None:
        if self.alive():
            with explained("kill the container"):
                self._docker.kill("SIGKILL")
                self._docker.wait(timeout=STOP_S)

    def _terminate(self) -> None:
        with explained("stop the container"):
            self._docker.stop(timeout=int(STOP_S))

    def _pause(self) -> None:
        if self._status() != "paused":
            with explained("pause the container"):
                self._docker.pause()

    def _resume(self) -> None:
        if self._status() == "paused":
            with explained("resume the container"):
                self._docker.unpause()

    def _start_again(self) -> None:
        with explained("start the container again"):
            self._docker.start()
        self._wait_until_ready()

    def _append_only_size(self) -> int:
        return self._size(self._append_only_file()) or 0

    def _cut_append_only(self, size: int) -> int:
        path = self._append_only_file()
        had = self._size(path) or 0
        if had:
            with explained("cut the append-only file"):
                self._docker.put_archive(str(path.parent), cut_archive(self._archive(path), size))
        return min(size, had)

    def _append_only_file(self) -> PurePosixPath:
        if self._size(_DATA / MANIFEST) is None:
            return _DATA / ONE_FILE
        return _DATA / growing(unpacked(self._archive(_DATA / MANIFEST)).decode())

    def _archive(self, path: PurePosixPath) -> bytes:
        with explained(f"read {path.name}"):
            return b"".join(self._docker.get_archive(str(path))[0])

    def _size(self, path: PurePosixPath) -> int | None:
        """Bytes of a file inside, asked without reading it: it may grow meanwhile; None where there is none."""
        from docker.utils import decode_json_header

        with explained(f"look at {path.name}"):
            api = self._docker.client.api
            where = f"{api.base_url}/v{api.api_version}/containers/{self.container_id}/archive"
            about = api.head(where, params={"path": str(path)}).headers.get("X-Docker-Container-Path-Stat")
        return int(decode_json_header(about)["size"]) if about else None

    def _log(self) -> str:
        with explained("read the container's log"):
            return str(self._docker.logs().decode(errors="replace"))

    @property
    def _docker(self) -> Any:
        return self._container.get_wrapped_container()

    def _status(self) -> str:
        with explained("look at the container"):
            self._docker.reload()
        return str(self._docker.status)

    def _published(self) -> int:
        with explained("look at the container"):
            self._docker.reload()
        ports = self._docker.ports.get(f"{_PORT}/tcp")
        if not ports:
            raise ServerError(f"the container of {self.image} is not running: restart() it first")
        return int(ports[0]["HostPort"])

    def _create(self) -> None:
        from docker.errors import APIError, DockerException

        for _ in range(_TRIES):
            self._container = _new_container(self.image, self._name, self._config, free_port())
            try:
                with _without_reaper():
                    self._container.start()
            except (APIError, DockerException, OSError) as error:
                if port_taken(error):
                    self._container.stop()
                    continue
                said = said_by(error)
                if "executable file not found" in said:
                    raise ServerError(
                        f"image {self.image} holds no redis-server: name one like {DEFAULT_IMAGE}"
                    ) from error
                raise ServerError(f"Docker cannot start {self.image} ({said}): try another image, {INSTEAD}") from error
            return
        raise ServerError(f"no port stayed free long enough for a container: try again, {INSTEAD}")

    def _remove(self) -> None:
        if self._container is not None:
            from docker.errors import DockerException

            # Gone already, or Docker is: then the guardian could not remove it either.
            with suppress(DockerException, OSError):
                self._container.stop()
        self._guard.dismiss()


def _new_container(image: str, name: str, config: bytes, port: int) -> Any:
    from testcontainers.core.container import DockerContainer

    container = DockerContainer(image, name=name, command=f"redis-server {_CONFIG}")
    container.with_kwargs(labels={LABEL: str(os.getpid())})
    # Readable to all inside, as the image may run Redis as a user of its own; outside nobody sees it.
    container.with_copy_into_container(config, _CONFIG, mode=0o644)
    # Docker's own choice of a port would change at each restart, and the workers' URL with it. testcontainers hands
    # the pair on to Docker, though its own type knows ports alone.
    container.ports = {f"{_PORT}/tcp": (_HOST, port)}  # type: ignore[dict-item]
    return container


@contextmanager
def _without_reaper() -> Iterator[None]:
    """Start a container without testcontainers' reaper, whatever the rest of the program wants of it."""
    from testcontainers.core.config import testcontainers_config

    before = testcontainers_config.ryuk_disabled
    testcontainers_config.ryuk_disabled = True
    try:
        yield
    finally:
        testcontainers_config.ryuk_disabled = before
