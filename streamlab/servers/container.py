"""A redis-server in a Docker container, published on loopback only, removed with its data."""

from __future__ import annotations

import io
import os
import secrets
import signal
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from streamlab.errors import ServerError
from streamlab.servers.engine import DEFAULT_IMAGE, engine, explained, see_to_image
from streamlab.servers.guardian import Guard
from streamlab.servers.own import HOST, OwnServer, PortTakenError
from streamlab.servers.settings import Persistence

if TYPE_CHECKING:
    from typing import Self

LABEL = "streamlab.owner"

_DATA = "/data"
_CONFIG = "tmp/streamlab.conf"


class ContainerServer(OwnServer):
    """A Redis or Valkey of a chosen version.

        with ContainerServer() as server:                       # redis:8.6
            server.client().ping()
        ContainerServer("valkey/valkey:9.1", persistence="aof-always", settings={"maxmemory": "10mb"})

    The password is in a file copied into the container: `docker inspect` and the list of processes do not show it.
    A guardian removes the container if the lab is killed; testcontainers' own reaper and its image are not needed.

    Raises `UsageError` for what cannot be an image's name, and `ServerError`, with the fix, where Docker does not
    answer, the image is missing and cannot be pulled, or it holds no Redis.
    """

    kind = "container"
    _container: Any = None

    def __init__(
        self,
        image: str = DEFAULT_IMAGE,
        persistence: Persistence = "none",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.image = image
        self._label = f"container {image}"
        super().__init__(persistence, settings)

    @property
    def container_id(self) -> str:
        """Docker's number of the container, which stays the same when it is restarted."""
        return str(self._container.id)

    def alive(self) -> bool:
        if self._stopped or not self._container:
            return False
        with explained("look at the container"):
            self._container.reload()
        return bool(self._container.status == "running")

    def log(self) -> str:
        self._must_be_open()
        with explained("read the container's log"):
            return str(self._container.logs().decode(errors="replace"))

    def another(self, persistence: Persistence) -> Self:
        return type(self)(self.image, persistence)

    def _open(self) -> None:
        self._docker = self._at_stop.enter_context(engine())
        see_to_image(self._docker, self.image)
        self._name = f"streamlab-{secrets.token_hex(8)}"
        self._at_stop.callback(Guard("container", self._name).dismiss)
        self._at_stop.callback(self._remove)
        super()._open()

    def _create(self) -> None:
        with explained(f"make a container of {self.image}"):
            self._container = self._docker.containers.create(
                self.image,
                f"redis-server /{_CONFIG}",
                name=self._name,
                labels={LABEL: str(os.getpid())},
                # Docker's own choice of a port would change at each restart, and the workers' URL with it.
                ports={f"{self._port}/tcp": (HOST, self._port)},
            )
            # All addresses of the container: Docker publishes it on the machine's loopback alone.
            config = self._config(bind="0.0.0.0", dir=_DATA, logfile='""').encode()
            about = tarfile.TarInfo(_CONFIG)  # readable to all inside: the image may run Redis as a user of its own
            about.size = len(config)
            self._container.put_archive("/", _tar(about, config))

    def _launch(self) -> None:
        try:
            with explained(f"start {self.image}", "try another image"):
                self._container.start()
        except ServerError as error:
            if "port is already allocated" in str(error) or "address already in use" in str(error):
                self._remove()
                raise PortTakenError(self._port) from error
            if "executable file not found" in str(error):
                raise ServerError(f"image {self.image} holds no redis-server: name one like {DEFAULT_IMAGE}") from error
            raise

    def _signal(self, number: signal.Signals) -> None:
        if self.alive():
            with explained(f"send {number.name} to the container"):
                self._container.kill(number.name)

    def _remove(self) -> None:
        # By its name, which Ctrl-C cannot keep from us. A failure is not ours: it is gone already, or Docker is.
        with suppress(ServerError), explained("remove the container"):
            self._docker.api.remove_container(self._name, v=True, force=True)

    # Docker gives and takes the files of a dead container, too, as tar archives.

    def _file_size(self, name: str) -> int | None:
        from docker.utils import decode_json_header

        api = self._docker.api
        with explained(f"look at {name}"):  # without reading it: it may grow meanwhile
            where = f"{api.base_url}/v{api.api_version}/containers/{self.container_id}/archive"
            about = api.head(where, params={"path": f"{_DATA}/{name}"}).headers.get("X-Docker-Container-Path-Stat")
        return int(decode_json_header(about)["size"]) if about else None

    def _read_file(self, name: str) -> bytes:
        return self._archived(name)[1]

    def _truncate_file(self, name: str, size: int) -> None:
        about, content = self._archived(name)
        about.size = size  # owner and mode stay
        with explained(f"cut {name}"):
            self._container.put_archive(f"{_DATA}/{name.rpartition('/')[0]}", _tar(about, content))

    def _archived(self, name: str) -> tuple[tarfile.TarInfo, bytes]:
        with explained(f"read {name}"):
            archive = b"".join(self._container.get_archive(f"{_DATA}/{name}")[0])
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            (about,) = tar
            file = tar.extractfile(about)
            assert file
            return about, file.read()


def _tar(about: tarfile.TarInfo, content: bytes) -> bytes:
    """Return an archive of one file, which has the first bytes of `content`: as many as `about` says."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(about, io.BytesIO(content))
    return archive.getvalue()
