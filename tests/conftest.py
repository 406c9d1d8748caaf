"""Real servers for all tests, and the proof that no test leaves anything behind."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from redis import Redis

from streamlab.errors import StreamlabError
from streamlab.servers import ProcessServer, Server
from tests.at_hand import SERVERS, AtHand
from tests.waiting import wait_until


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """No process, folder or container of this session outlives it. Keys are looked after by `server`."""
    folders_before, mine = _folders(), psutil.Process()
    processes_before = set(mine.children(recursive=True))
    orphans_before = set(_homeless())
    yield
    wait_until(
        "no process of the tests is left",
        lambda: not {*_living(mine.children(recursive=True)), *_homeless()} - processes_before - orphans_before,
    )
    wait_until("no folder of the tests is left", lambda: not _folders() - folders_before)
    assert not _containers(), "containers are left behind"


@pytest.fixture(scope="session", params=SERVERS, ids=lambda at_hand: at_hand.id)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Each server at hand, one for the whole session: leave it as it was, and write under its prefix alone."""
    at_hand: AtHand = request.param
    with at_hand.opened() as server:
        yield server
        _no_key_is_left(server)


@pytest.fixture(scope="session")
def any_server() -> Iterator[Server]:
    """One server for tests to which its version means nothing: the best binary of this machine."""
    with ProcessServer() as server:
        yield server
        _no_key_is_left(server)


@pytest.fixture
def client(server: Server) -> Iterator[Redis]:
    """A client of `server` that decodes responses."""
    with server.client() as client:
        yield client


@pytest.fixture
def keys(server: Server) -> Iterator[str]:
    """A fresh prefix under the server's own; every key that starts with it is removed afterwards."""
    prefix = f"{server.prefix}{secrets.token_hex(4)}:"
    yield prefix
    with server.client() as client:
        for key in client.scan_iter(match=f"{prefix}*", count=500):
            client.unlink(key)


@pytest.fixture
def stream(keys: str) -> str:
    """The name of a stream that does not exist yet; it and everything under it is removed afterwards."""
    return f"{keys}jobs"


def _no_key_is_left(server: Server) -> None:
    with server.client() as client:
        left = list(client.scan_iter(match=f"{server.prefix}*", count=500))
    assert not left, f"keys are left behind on {server.description}: {left[:5]}"


def _living(processes: list[psutil.Process]) -> list[psutil.Process]:
    living = []
    for process in processes:
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                living.append(process)
        except psutil.NoSuchProcess:
            continue
    return living


def _homeless() -> list[psutil.Process]:
    """Guardians, and servers in a folder of the lab's, whose parent died: no list of our children shows them."""
    found = []
    for process in psutil.process_iter():
        try:
            ours = "guardian.py" in " ".join(process.cmdline()) or "/streamlab-" in process.cwd()
            if ours and process.ppid() == 1 and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def _folders() -> set[Path]:
    """The lab's folders that are no other running session's: tests may run side by side."""
    taken = set()
    for process in psutil.process_iter():
        try:
            taken.add(Path(process.cwd()))
        except (psutil.Error, OSError):
            continue
    return {folder for folder in Path(tempfile.gettempdir()).glob("streamlab-*") if folder not in taken}


def _containers() -> list[str]:
    from streamlab.servers.container import LABEL
    from streamlab.servers.engine import engine

    try:
        with engine() as docker:
            found = docker.containers.list(all=True, filters={"label": f"{LABEL}={os.getpid()}"})
            return [container.name for container in found]
    except StreamlabError:
        return []
