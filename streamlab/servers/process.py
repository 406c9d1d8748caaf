"""A private redis-server: on loopback, behind a password, in a folder of its own, gone without a trace."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from streamlab.errors import ServerError, StreamlabError, UsageError
from streamlab.servers.appendonly import MANIFEST, ONE_FILE, growing
from streamlab.servers.base import STOP_S, Server
from streamlab.servers.binaries import Binary, best_binary, inspect
from streamlab.servers.guard import Guard
from streamlab.servers.guardian import remove_process
from streamlab.servers.ports import free_port
from streamlab.servers.reach import with_password
from streamlab.servers.settings import Persistence, config_text

HOST = "127.0.0.1"
_TRIES = 5
_PORT_BACK_S = 5.0
_PORT_TAKEN = b"Address already in use"


class ProcessServer(Server):
    """A redis-server of our own, up when the object exists.

        with ProcessServer() as server:                           # the best binary of this machine, a free port
            server.client().ping()
        ProcessServer("/opt/redis/bin/redis-server", persistence="aof-everysec", settings={"maxmemory": "10mb"})

    Its password is in a file that only this user may read, and so in no list of processes. It is in a session of its
    own: Ctrl-C in the terminal is for the lab, not for Redis. A guardian removes it should this process be killed.

    Raises `UsageError` for a port, persistence or setting that cannot be meant, and `ServerError` where the port is
    taken, no binary is at hand, or the server does not start.
    """

    kind = "process"

    def __init__(
        self,
        binary: str | Path | Binary | None = None,
        port: int = 0,
        persistence: Persistence = "none",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        if not 0 <= port <= 65535:
            raise UsageError(f"there is no port {port}: name one from 1 to 65535, or 0 for a free one")
        self._port_is_given = port != 0
        self._port = port or free_port()
        self.persistence = persistence
        self._settings = dict(settings or {})
        self._password = secrets.token_urlsafe(24)
        config_text({}, persistence, settings)  # before anything exists that would have to be removed
        self.binary = _chosen(binary)
        self._folder = Path(tempfile.mkdtemp(prefix="streamlab-")).resolve()
        self._guard = Guard("process", str(self._folder), str(self.binary.path))
        super().__init__()
        try:
            self._start_on_some_port()
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        """The number of the server's process, which changes at each restart."""
        return self._process.pid

    def _address(self) -> str:
        return with_password(self._password, HOST, self._port)

    def _describe(self) -> str:
        return f"private process, {self.binary.name.capitalize()} {self.binary.version}, {HOST}:{self._port}"

    def _alive(self) -> bool:
        return self._process.poll() is None

    def _pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def _resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def _terminate(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            raise ServerError(f"{self.description} did not end by SIGTERM within {STOP_S:.0f} s: use KILL") from None

    def _kill(self) -> None:
        # Its whole group: a child that writes a snapshot would otherwise finish it after the server's death.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()

    def _start_again(self) -> None:
        # The port was ours a moment ago, and clients know it: insist.
        deadline = time.monotonic() + _PORT_BACK_S
        while not self._start():
            if time.monotonic() > deadline:
                raise ServerError(self._taken())

    def _append_only_size(self) -> int:
        file = self._append_only_file()
        return file.stat().st_size if file.exists() else 0

    def _cut_append_only(self, size: int) -> int:
        had = self._append_only_size()
        if had:
            os.truncate(self._append_only_file(), max(0, had - size))
        return min(size, had)

    def _append_only_file(self) -> Path:
        manifest = self._folder / MANIFEST
        return self._folder / (growing(manifest.read_text()) if manifest.exists() else ONE_FILE)

    def _log(self) -> str:
        return self._log_file.read_text(errors="replace")

    @property
    def _log_file(self) -> Path:
        return self._folder / "server.log"

    def _remove(self) -> None:
        if hasattr(self, "_process"):
            self._kill()
        # Ctrl-C may have fallen between a start and our knowing of it: whatever else lives there goes too.
        remove_process(str(self._folder), str(self.binary.path))
        self._guard.dismiss()

    def _start_on_some_port(self) -> None:
        for _ in range(_TRIES):
            if self._start():
                return
            if self._port_is_given:
                break
            self._port = free_port()
        raise ServerError(self._taken())

    def _start(self) -> bool:
        """Start the server and wait until it answers; return False if another has its port."""
        config = self._folder / "redis.conf"
        ours = {
            "bind": HOST,
            "port": str(self._port),
            "requirepass": self._password,
            "protected-mode": "yes",
            "daemonize": "no",
            "dir": f'"{self._folder}"',
            "logfile": f'"{self._log_file}"',
        }
        with os.fdopen(os.open(config, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(config_text(ours, self.persistence, self._settings))
        # What it complains about before it knows its log goes to the same file.
        with self._log_file.open("ab") as log:
            log_before = log.tell()
            self._process = subprocess.Popen(
                [self.binary.path, config],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,  # by which the guardian knows it, from its first moment
                start_new_session=True,
            )
        try:
            self._wait_until_ready()
        except StreamlabError:
            self._kill()
            if _PORT_TAKEN in self._log_file.read_bytes()[log_before:]:
                return False
            raise
        return True

    def _taken(self) -> str:
        return f"port {self._port} on {HOST} is taken: end what listens there (`ss -ltnp`), or ask for a free one by 0"


def _chosen(binary: str | Path | Binary | None) -> Binary:
    if binary is None:
        return best_binary()
    return binary if isinstance(binary, Binary) else inspect(Path(binary))
