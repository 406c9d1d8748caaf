"""The contract of a server: a Redis that an experiment may use, wherever it comes from."""

from __future__ import annotations

import atexit
import os
import secrets
from abc import ABC, abstractmethod
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from streamlab.errors import ServerError, StreamlabError
from streamlab.servers.client import asking, connect, mask
from streamlab.servers.features import probe, require_streams

if TYPE_CHECKING:
    from typing import Self

    from redis import Redis


class Server(ABC):
    """A Redis that is up once the object exists. `stop` removes it, or what the experiment left in it.

        with ProcessServer() as server:
            redis = server.client()
            redis.xadd(server.prefix + "jobs", {"n": 1})

    What the lab can do to a server that it started itself, `OwnServer` adds. A server belongs to the process that
    made it: in a forked child `stop` does nothing. A kind of server fills in `alive` and `_open`.
    """

    kind: ClassVar[Literal["process", "container", "external"]]
    #: How it keeps its data; '' where its owner decides that.
    persistence: str = ""
    flavour: Literal["redis", "valkey"]
    #: Its own version, such as `8.2.3`. To know what it can do, look at `features`.
    version: str
    #: Names out of `streamlab.servers.features.FEATURES`.
    features: frozenset[str]

    #: The address with the password, and what a reader sees of server and address. A kind sets them.
    _url: str
    _label: str
    _place: str

    def __init__(self) -> None:
        #: Every key of an experiment starts with it, so that it finds, and removes, its own keys and no other.
        self.prefix = f"streamlab:{secrets.token_hex(4)}:"
        self._owner = os.getpid()
        self._stopped = False
        #: What `stop` does, the last first.
        self._at_stop = ExitStack()
        atexit.register(self._stop_quietly)
        try:
            self._open()
            self._ask_what_it_is()
        except BaseException:
            self._stop_quietly()
            raise

    @abstractmethod
    def _open(self) -> None:
        """Bring the server up, or find it; push onto `_at_stop` how each thing that is made is removed."""

    @abstractmethod
    def alive(self) -> bool:
        """Whether the server is there. A paused one is, though it does not answer."""

    @property
    def url(self) -> str:
        """Where it is, with the password: for a client, not for a screen."""
        self._must_be_open()
        return self._url

    @property
    def safe_url(self) -> str:
        """`url` without the password."""
        return mask(self.url)

    @property
    def name(self) -> str:
        """Flavour and version for a reader: `Valkey 9.1.2`."""
        return f"{self.flavour.capitalize()} {self.version}"

    @property
    def description(self) -> str:
        """One line for a reader: `private process, Redis 8.2.3, 127.0.0.1:21034`."""
        return f"stopped {self.kind} server" if self._stopped else f"{self._label}, {self.name}, {self._place}"

    def client(self, **options: Any) -> Redis:
        """Return a new client, to be closed by the caller; `connect` explains its defaults and options."""
        return connect(self.url, **options)

    def stop(self) -> None:
        """Remove the server and all that it left, for good. A second call does nothing."""
        if os.getpid() == self._owner:
            self._stopped = True
            atexit.unregister(self._stop_quietly)
            self._at_stop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.description}>"

    def _ask_what_it_is(self) -> None:
        with asking(self._url) as client:
            info: dict[str, Any] = client.info("server")
            self.features = probe(client, f"{self.prefix}probe")
        self.flavour = "valkey" if "valkey_version" in info else "redis"
        self.version = str(info.get("valkey_version") or info["redis_version"])
        require_streams(self.features, self.safe_url)

    def _must_be_open(self) -> None:
        if self._stopped:
            raise ServerError(f"this {self.kind} server was stopped: open a new one")

    def _stop_quietly(self) -> None:
        # At the end of the interpreter nobody catches an error, and one while opening is told already.
        with suppress(StreamlabError):
            self.stop()
