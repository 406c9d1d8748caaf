"""Somebody else's Redis, reached by its URL: the lab is a guest there."""

from __future__ import annotations

from redis.exceptions import RedisError

from streamlab.errors import StreamlabError
from streamlab.servers.base import Server
from streamlab.servers.client import asking, mask

_BATCH = 500


class ExternalServer(Server):
    """The Redis at `url`: redis://, rediss:// or unix://.

    The lab writes under one prefix, and removes just those keys at the end. It removes and flushes nothing else, and
    cannot kill, pause or restart the server.

        with ExternalServer("redis://:secret@redis.example:6379/3") as server:
            server.client().xadd(server.prefix + "jobs", {"n": 1})

    Opening it raises `UsageError` for an unreadable URL, `ServerError` where nobody answers,
    `PermissionRefusedError` for a wrong password, and `UnsupportedError` for a Redis too old for streams.
    """

    kind = "external"
    _label = "external"

    def __init__(self, url: str) -> None:
        self._url = url
        self._place = mask(url)
        super().__init__()

    def alive(self) -> bool:
        # Its process is out of sight: alive is what answers.
        if self._stopped:
            return False
        with self.client(socket_timeout=1.0) as client:
            try:
                return bool(client.ping())
            except (OSError, RedisError):
                return False

    def _open(self) -> None:
        with asking(self._url) as client:
            client.ping()
        self._at_stop.callback(self._remove_own_keys)

    def _remove_own_keys(self) -> None:
        try:
            with asking(self._url) as client:
                # The queue derives keys from a stream's name by making it a hash tag.
                keys = [key for first in ("", "{") for key in client.scan_iter(f"{first}{self.prefix}*", count=_BATCH)]
                for start in range(0, len(keys), _BATCH):
                    client.unlink(*keys[start : start + _BATCH])
        except StreamlabError as error:
            raise type(error)(f"the keys {self.prefix}* may be left over: {error}") from error
