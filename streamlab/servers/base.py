"""The contract of a server: a Redis that the lab may talk to and, where it is the lab's own, may break."""

from __future__ import annotations

import atexit
import os
import secrets
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from redis.exceptions import RedisError

from streamlab.errors import ServerError, StreamlabError, UnsupportedError, UsageError
from streamlab.features import probe
from streamlab.servers.reach import asking, connect, mask
from streamlab.servers.settings import refused_setting

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Self

    from redis import Redis

Kind = Literal["process", "container", "external"]
How = Literal["TERM", "KILL"]

#: Everything that a server may be able to suffer or tell. `Server.abilities` says which of it this one can.
ABILITIES = frozenset({"kill", "terminate", "pause", "resume", "restart", "persistence", "cut", "log"})

START_S = 20.0
STOP_S = 10.0
_POLL_S = 0.01


class Server(ABC):
    """A Redis that is up once the object exists, and gone, with all that it left, after `stop`.

        with ProcessServer(persistence="aof-always") as server:
            redis = server.client()
            redis.xadd(server.prefix + "jobs", {"n": 1})
            server.kill()                 # SIGKILL: no farewell, no last save
            server.restart()              # same data folder and settings; back when it answers
            assert redis.xlen(server.prefix + "jobs") == 1

    What a server cannot do is not in its `abilities`; asked all the same, it raises `UnsupportedError`. A server
    belongs to the process that made it: in a forked child `stop` does nothing.
    """

    kind: ClassVar[Kind]
    #: How it keeps its data: what it was asked for; '' where that is its owner's business.
    persistence: str = ""
    abilities: ClassVar[frozenset[str]] = ABILITIES

    def __init__(self) -> None:
        #: Every key of a run starts with it, so that a run finds, and removes, its own keys and no other.
        self.prefix = f"streamlab:{secrets.token_hex(4)}:"
        self._owner = os.getpid()
        self._stopped = False
        atexit.register(self._stop_quietly)

    @property
    def url(self) -> str:
        """Where it is now, with the password: for a client, not for a screen. Read it afresh after a restart."""
        self._still_here()
        return self._address()

    @property
    def description(self) -> str:
        """One line for a reader: `private process, Redis 8.2.3, 127.0.0.1:21034`."""
        return f"stopped {self.kind} server" if self._stopped else self._describe()

    def alive(self) -> bool:
        """Whether the server is there. A paused one is, though it does not answer."""
        return not self._stopped and self._alive()

    @property
    def safe_url(self) -> str:
        """`url` without the password."""
        return mask(self.url)

    def client(self, **options: Any) -> Redis:
        """Return a new client, to be closed by the caller: see `reach.connect` for its manners and options."""
        return connect(self.url, **options)

    @cached_property
    def flavour(self) -> Literal["redis", "valkey"]:
        """Whose server it is."""
        return "valkey" if "valkey_version" in self._info else "redis"

    @cached_property
    def version(self) -> str:
        """Its own version, such as `8.2.3`. To know what it can do, look at `features`."""
        return str(self._info.get("valkey_version") or self._info["redis_version"])

    @cached_property
    def features(self) -> frozenset[str]:
        """Names out of `streamlab.features.FEATURES` that this server has: asked of it once."""
        with self._asking() as client:
            return probe(client, f"{self.prefix}probe")

    @property
    def name(self) -> str:
        """Flavour and version for a reader: `Valkey 9.1.2`."""
        return f"{self.flavour.capitalize()} {self.version}"

    def kill(self) -> None:
        """SIGKILL the server, as the kernel would: no farewell and no last save. Killing a dead one does nothing.

        What it had handed to the kernel survives; a power cut, which this is not, would take that too.
        """
        self._must_be_able_to("kill")
        self._kill()

    def terminate(self) -> None:
        """SIGTERM the server and wait until it is gone: it saves first, as its settings say. Resumes a paused one."""
        self._must_be_able_to("terminate")
        if self.alive():
            self._resume()
            self._terminate()

    def pause(self) -> None:
        """Freeze the server: connections stay open, and nobody answers."""
        self._must_be_able_to("pause")
        self._must_run()
        self._pause()

    def resume(self) -> None:
        """Let a paused server go on where it was."""
        self._must_be_able_to("resume")
        self._must_run()
        self._resume()

    def restart(self, how: How = "TERM") -> None:
        """End the server by that signal if it runs, start it on the same data and settings, wait until it answers.

        SIGTERM lets it save as its settings say, SIGKILL does not. A paused server is resumed before SIGTERM.
        Raises `ServerError` when it does not come back.
        """
        self._must_be_able_to("restart")
        if how not in get_args(How):
            raise UsageError(f"cannot end a server by {how!r}: say {' or '.join(get_args(How))}")
        if how == "KILL":
            self._kill()
        else:
            self.terminate()
        self._start_again()

    def append_only_size(self) -> int:
        """Bytes of the file that it appends what it does to; 0 where it keeps none. Dead or alive."""
        self._must_be_able_to("cut")
        return self._append_only_size()

    def cut_append_only(self, size: int) -> int:
        """Take the last `size` bytes off that file of a dead server, as a power cut may; how many there were to take.

        Raises `ServerError` while it runs: it would write on where it was.
        """
        self._must_be_able_to("cut")
        if self._alive():
            raise ServerError(f"the {self.kind} server runs: kill() it before its file is cut")
        return self._cut_append_only(size)

    def log(self) -> str:
        """Return what the server wrote into its log so far."""
        self._must_be_able_to("log")
        return self._log()

    def stop(self) -> None:
        """Remove the server and all that it left, for good. Doing it twice is doing it once."""
        if self._stopped or os.getpid() != self._owner:
            return
        self._stopped = True
        atexit.unregister(self._stop_quietly)
        self._remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.description}>"

    @property
    def _info(self) -> dict[str, Any]:
        with self._asking() as client:
            return dict(client.info("server"))

    def _asking(self) -> AbstractContextManager[Redis]:
        if self.kind != "external":
            self._must_run()
        return asking(self.url)

    def _still_here(self) -> None:
        if self._stopped:
            raise ServerError(f"this {self.kind} server was stopped: open a new one")

    def _must_be_able_to(self, what: str) -> None:
        self._still_here()
        if what not in self.abilities:
            doing = {"log": "read the log of", "cut": "cut the append-only file of"}.get(what, what)
            raise UnsupportedError(
                f"cannot {doing} somebody else's Redis ({self.safe_url}): use --server process or container for that"
            )

    def _must_run(self) -> None:
        self._still_here()
        if not self.alive():
            raise ServerError(f"the {self.kind} server is not running: restart() it first")

    def _stop_quietly(self) -> None:
        # At the end of the interpreter nobody catches anything.
        with suppress(StreamlabError):
            self.stop()

    def _wait_until_ready(self) -> None:
        """Wait until it answers PING, which it refuses while it is still loading its data.

        Raises `ServerError` when it is gone, or mute for `START_S` seconds.
        """
        deadline = time.monotonic() + START_S
        try:
            url = self._address()
        except ServerError as error:  # a container that ended at once has no port any more
            raise self._stillborn() from error
        with connect(url, socket_timeout=0.3) as client:
            while True:
                try:
                    client.ping()
                except (RedisError, OSError) as error:
                    if not self.alive():
                        raise self._stillborn() from error
                    if time.monotonic() > deadline:
                        raise ServerError(
                            f"the {self.kind} server does not answer ({error}): see whether this machine is overloaded"
                        ) from error
                    time.sleep(_POLL_S)
                else:
                    return

    def _stillborn(self) -> StreamlabError:
        """Return why it ended before it answered, by its log."""
        log = self._log()
        if refused := refused_setting(log):
            return UsageError(f"the {self.kind} server refuses its settings: correct or leave out {refused}")
        last = (log.strip() or "its log is empty").splitlines()[-1].strip()
        return ServerError(f"the {self.kind} server ended while it started ({last}): try another --server")

    # What a kind of server fills in. The public methods have checked that it is there and able to.

    @abstractmethod
    def _address(self) -> str: ...

    @abstractmethod
    def _describe(self) -> str: ...

    @abstractmethod
    def _alive(self) -> bool: ...

    @abstractmethod
    def _remove(self) -> None:
        """Take away the server and all that it left. Called once."""

    def _kill(self) -> None:
        """SIGKILL it and wait until it is gone; nothing to do for a dead one."""
        raise NotImplementedError

    def _terminate(self) -> None:
        """SIGTERM it and wait until it is gone."""
        raise NotImplementedError

    def _pause(self) -> None:
        raise NotImplementedError

    def _resume(self) -> None:
        """Unfreeze it; nothing to do for one that is not frozen."""
        raise NotImplementedError

    def _start_again(self) -> None:
        """Start the dead server on the data it left, and wait until it answers."""
        raise NotImplementedError

    def _append_only_size(self) -> int:
        raise NotImplementedError

    def _cut_append_only(self, size: int) -> int:
        raise NotImplementedError

    def _log(self) -> str:
        raise NotImplementedError
