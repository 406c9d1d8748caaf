"""A redis-server process of the lab's own, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from streamlab.servers.binaries import Binary, best_binary, inspect
from streamlab.servers.guardian import Guard, remove_process
from streamlab.servers.own import HOST, OwnServer
from streamlab.servers.settings import Persistence

if TYPE_CHECKING:
    from typing import Self


class ProcessServer(OwnServer):
    """A private redis-server, which needs no Docker.

        with ProcessServer() as server:                           # the best binary of this machine
            server.client().ping()
        ProcessServer("/opt/redis/bin/redis-server", persistence="aof-everysec", settings={"maxmemory": "10mb"})

    Its password is in a file that only this user may read, and so in no list of processes. It has a session of its
    own: Ctrl-C in the terminal ends the lab first. A guardian removes it if the lab is killed.

    Raises `UsageError` for a persistence or setting that cannot be meant, and `ServerError` where no binary is at
    hand, or the server does not start.
    """

    kind = "process"
    _label = "private process"
    _process: subprocess.Popen[bytes] | None = None

    def __init__(
        self,
        binary: str | Path | Binary | None = None,
        persistence: Persistence = "none",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        if binary is None:
            self.binary = best_binary()
        else:
            self.binary = binary if isinstance(binary, Binary) else inspect(Path(binary))
        super().__init__(persistence, settings)

    @property
    def pid(self) -> int:
        """The number of the server's process, which changes at each restart."""
        assert self._process
        return self._process.pid

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        self._must_be_open()
        return self._log_file.read_text(errors="replace")

    def another(self, persistence: Persistence) -> Self:
        return type(self)(self.binary, persistence)

    def _open(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="streamlab-")).resolve()
        self._log_file = self._folder / "server.log"
        self._at_stop.callback(Guard("process", str(self._folder), str(self.binary.path)).dismiss)
        self._at_stop.callback(self._remove)
        super()._open()

    def _create(self) -> None:
        config = self._config(bind=HOST, dir=f'"{self._folder}"', logfile=f'"{self._log_file}"')
        file = os.open(self._folder / "redis.conf", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(file, "w") as opened:
            opened.write(config)

    def _launch(self) -> None:
        self._process = None
        # What it complains about before it knows its log goes to the same file.
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [self.binary.path, self._folder / "redis.conf"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,  # by which the guardian knows it, from its first moment
                start_new_session=True,
            )

    def _remove(self) -> None:
        if self._process:
            self._signal(signal.SIGKILL)
            self._process.wait()
            shutil.rmtree(self._folder, ignore_errors=True)
        else:  # Ctrl-C came between a start and our knowing of it
            remove_process(str(self._folder), str(self.binary.path))

    def _signal(self, number: signal.Signals) -> None:
        # Its whole group: a child that writes a snapshot would otherwise finish it after the server's death.
        with suppress(ProcessLookupError, PermissionError):
            if self._process:
                os.killpg(self._process.pid, number)

    def _file_size(self, name: str) -> int | None:
        path = self._folder / name
        return path.stat().st_size if path.exists() else None

    def _read_file(self, name: str) -> bytes:
        return (self._folder / name).read_bytes()

    def _truncate_file(self, name: str, size: int) -> None:
        os.truncate(self._folder / name, size)
