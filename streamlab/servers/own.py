"""A redis-server that the lab started: how it is killed, frozen and restarted, and how a power cut is simulated."""

from __future__ import annotations

import random
import re
import secrets
import signal
import socket
import time
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, get_args

from redis.exceptions import RedisError

from streamlab.errors import ServerError, StreamlabError, UsageError
from streamlab.servers.base import Server
from streamlab.servers.client import connect
from streamlab.servers.settings import Persistence, config_text, refused_setting

if TYPE_CHECKING:
    from typing import Self

How = Literal["TERM", "KILL"]
HOST = "127.0.0.1"

_START_S = 20.0
_STOP_S = 10.0
_POLL_S = 0.01
_TRIES = 5

# Below the ports that Linux (from 32768) and macOS (from 49152) lend to outgoing connections. In their range a client
# that keeps trying to reach a killed server is, sooner or later, lent that server's own port: it then connects to
# itself, and the server cannot come back.
_PORTS = range(20000, 32768)


class PortTakenError(ServerError):
    """Somebody else listens on the server's port."""

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} on {HOST} is taken: end what listens there (`ss -ltnp`)")


class OwnServer(Server):
    """One redis-server on a free port of loopback, behind a random password.

        with ProcessServer(persistence="aof-always") as server, server.client() as redis:
            redis.xadd(server.prefix + "jobs", {"n": 1})
            server.kill()                 # SIGKILL: no last save
            server.restart()              # same data, settings and URL; back when it answers
            assert redis.xlen(server.prefix + "jobs") == 1

    A kind of it fills in how its process is made, started and sent a signal, and how its files are reached.

    Args:
        persistence: "none", "rdb" (snapshots), or "aof-always", "aof-everysec", "aof-no" (append-only file, and when
            it is synced to disk).
        settings: more of redis.conf: `{"maxmemory": "10mb"}`.
    """

    def __init__(self, persistence: Persistence, settings: Mapping[str, str] | None) -> None:
        config_text({}, persistence, settings)  # complains before anything is made
        self.persistence: Persistence = persistence
        self._settings = settings
        self._password = secrets.token_urlsafe(24)
        super().__init__()

    @abstractmethod
    def _create(self) -> None:
        """Make what the server needs to be started on `_port`."""

    @abstractmethod
    def _launch(self) -> None:
        """Start it on the data that is there, without waiting for its answer."""

    @abstractmethod
    def _signal(self, number: signal.Signals) -> None:
        """Send its process a signal; do nothing if it is dead."""

    @abstractmethod
    def _file_size(self, name: str) -> int | None:
        """Bytes of a file in its data folder, running or dead; None if there is none."""

    @abstractmethod
    def _read_file(self, name: str) -> bytes: ...

    @abstractmethod
    def _truncate_file(self, name: str, size: int) -> None: ...

    @abstractmethod
    def log(self) -> str:
        """Return what the server wrote into its log so far."""

    @abstractmethod
    def another(self, persistence: Persistence) -> Self:
        """Open one more server of the same binary or image."""

    def kill(self) -> None:
        """SIGKILL the server: no last save. A dead one stays dead.

        What it had handed to the kernel survives; a power cut would take that too: see `cut_append_only`.
        """
        self._must_be_open()
        self._signal(signal.SIGKILL)
        self._wait_until_dead()

    def terminate(self) -> None:
        """SIGTERM the server, so that it saves as its settings say, and wait until it is gone. Resumes a paused one."""
        self._must_be_open()
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        self._wait_until_dead()

    def pause(self) -> None:
        """SIGSTOP the server: connections stay open, and it does not answer."""
        self._must_run()
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT the server: it goes on where it was."""
        self._must_run()
        self._signal(signal.SIGCONT)

    def restart(self, how: How = "TERM") -> None:
        """End the server by that signal if it runs, start it on the same data and settings, wait until it answers.

        Raises `ServerError` when it does not come back.
        """
        if how not in get_args(How):
            raise UsageError(f"cannot end a server by {how!r}: say {' or '.join(get_args(How))}")
        if how == "KILL":
            self.kill()
        else:
            self.terminate()
        self._start()

    def append_only_size(self) -> int:
        """Bytes of the file to which it appends its writes, running or dead; 0 where it keeps none."""
        return self._file_size(self._append_only_file()) or 0

    def cut_append_only(self, size: int) -> int:
        """Take the last `size` bytes off that file of a dead server, as a power cut may; return how many it had."""
        if self.alive():
            raise ServerError(f"the {self.kind} server runs: kill() it before its file is cut")
        had = self.append_only_size()
        cut = min(size, had)
        if cut:
            self._truncate_file(self._append_only_file(), had - cut)
        return cut

    def _append_only_file(self) -> str:
        manifest = "appendonlydir/appendonly.aof.manifest"
        if self._file_size(manifest) is None:  # before Redis 7.0
            return "appendonly.aof"
        # "file appendonly.aof.1.incr.aof seq 1 type i", and newer servers say more. The last increment grows.
        increments = re.findall(r"^file (\S+) .*type i\b", self._read_file(manifest).decode(), re.MULTILINE)
        return f"appendonlydir/{increments[-1]}"

    def _open(self) -> None:
        for _ in range(_TRIES):
            self._port = free_port()
            self._place = f"{HOST}:{self._port}"
            self._url = f"redis://:{self._password}@{self._place}/0"
            with suppress(PortTakenError):
                self._create()
                return self._start()
        raise ServerError(f"no port stayed free long enough for the {self.kind} server: try again")

    def _config(self, **ours: str) -> str:
        """Return the text of redis.conf; `ours` are the settings of this kind of server."""
        common = {"port": str(self._port), "requirepass": self._password, "protected-mode": "yes", "daemonize": "no"}
        return config_text(common | ours, self.persistence, self._settings)

    def _start(self) -> None:
        """Start it, and wait until it answers PING, which it refuses while it loads its data."""
        self._launch()
        deadline = time.monotonic() + _START_S
        with connect(self._url, socket_timeout=0.3) as client:
            while True:
                try:
                    client.ping()
                    return
                except (RedisError, OSError) as error:
                    if not self.alive():
                        raise self._why_it_ended() from error
                    if time.monotonic() > deadline:
                        raise ServerError(
                            f"the {self.kind} server does not answer ({error}): see whether this machine is overloaded"
                        ) from error
                time.sleep(_POLL_S)

    def _why_it_ended(self) -> StreamlabError:
        log = self.log()
        last = (log.strip() or "its log is empty").splitlines()[-1].strip()
        if "Failed listening on" in last:
            return PortTakenError(self._port)
        if refused := refused_setting(log):
            return UsageError(f"the {self.kind} server refuses its settings: correct or leave out {refused}")
        return ServerError(f"the {self.kind} server ended while it started ({last}): try another --server")

    def _wait_until_dead(self) -> None:
        deadline = time.monotonic() + _STOP_S
        while self.alive():
            if time.monotonic() > deadline:
                raise ServerError(f"{self.description} did not end within {_STOP_S:.0f} s: kill() it")
            time.sleep(_POLL_S)

    def _must_run(self) -> None:
        self._must_be_open()
        if not self.alive():
            raise ServerError(f"the {self.kind} server is not running: restart() it first")


def free_port() -> int:
    """Return a port that was free a moment ago; the caller must be ready to ask for another."""
    for port in random.sample(_PORTS, 100):
        with suppress(OSError):
            socket.create_server((HOST, port)).close()
            return port
    raise ServerError(f"no free port from {_PORTS.start} to {_PORTS.stop}: end what holds them (`ss -ltn`)")
