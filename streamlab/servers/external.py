"""Somebody else's Redis, reached by its URL: the lab is a guest there."""

from __future__ import annotations

from redis.exceptions import RedisError

from streamlab.errors import StreamlabError
from streamlab.features import require_streams
from streamlab.servers.base import Server
from streamlab.servers.reach import asking, mask

_BATCH = 500


class ExternalServer(Server):
    """The Redis at `url`: redis://, rediss:// or unix://.

    It is written to under one prefix, and rid of just those keys at the end. Nothing else is removed or flushed.

        with ExternalServer("redis://:secret@redis.example:6379/3") as server:
            server.client().xadd(server.prefix + "jobs", {"n": 1})

    To kill, pause or restart it, or to read its log, is refused: `UnsupportedError`. Opening it raises `UsageError`
    for an unreadable URL, `ServerError` where nobody answers, `PermissionRefusedError` for a wrong password,
    and `UnsupportedError` for a Redis too old for streams.
    """

    kind = "external"
    abilities = frozenset()

    def __init__(self, url: str) -> None:
        self._url = url
        super().__init__()
        try:
            self._look_at_it()
        except BaseException:
            self._stop_quietly()
            raise

    def _address(self) -> str:
        return self._url

    def _describe(self) -> str:
        return f"external, {self.name}, {mask(self._url)}"

    def _alive(self) -> bool:
        # Its process is out of sight: alive is what answers.
        with self.client(socket_timeout=1.0) as client:
            try:
                return bool(client.ping())
            except (OSError, RedisError):
                return False

    def _remove(self) -> None:
        try:
            with asking(self._url) as client:
                batch: list[str] = []
                for first in ("", "{"):  # the queue derives keys from a stream's name by making it a hash tag
                    for key in client.scan_iter(match=f"{first}{self.prefix}*", count=_BATCH):
                        batch.append(key)
                        if len(batch) == _BATCH:
                            client.unlink(*batch)
                            batch.clear()
                if batch:
                    client.unlink(*batch)
        except StreamlabError as error:
            raise type(error)(f"the keys {self.prefix}* may be left over: {error}") from error

    def _look_at_it(self) -> None:
        with self._asking() as client:
            client.ping()
        require_streams(self.features, self.safe_url)
        _ = self.name  # asked while it is there: a description must not need the server
