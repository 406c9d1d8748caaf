"""Real servers for all tests, and the proof that no test leaves anything behind."""

from __future__ import annotations

import gc
import os
import secrets
import signal
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from redis import Redis

from streamlab.errors import StreamlabError
from streamlab.servers import ProcessServer, Server
from tests.at_hand import SAME_AGAIN, SERVERS, AtHand, keys_of
from tests.waiting import wait_until

# A shell that runs the tests in the background lets them ignore Ctrl-C, nohup also SIGHUP, and so would every process
# that they start: those that are to be ended by a signal shall hear it.
for heard, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(heard) is signal.SIG_IGN:
        signal.signal(heard, usual)


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No process, folder or container of this session outlives it. Keys are looked after by `server`.

    All temporary folders of the session, also those of the processes that it starts, are in one of its own: what
    another session does meanwhile is not taken for ours.
    """
    home, me = tmp_path_factory.mktemp("home").resolve(), psutil.Process()
    before = set(me.children(recursive=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(home))
        patch.setattr(tempfile, "tempdir", str(home))
        yield
    wait_until(
        "no process of the tests is left",
        lambda: not _living({*me.children(recursive=True), *_at(home)} - before),
    )
    gc.collect()  # a run that has no folder of its own owns a temporary one
    wait_until("no folder of the tests is left", lambda: not list(home.glob("streamlab-*")))
    assert not _containers(), "containers are left behind"


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(at_hand, id=at_hand.id, marks=[pytest.mark.soak] if at_hand in SAME_AGAIN else [])
        for at_hand in SERVERS
    ],
)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Each version at hand, in long runs each server, for the whole session: write under its prefix alone."""
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
        for key in keys_of(client, prefix):
            client.unlink(key)


@pytest.fixture
def stream(keys: str) -> str:
    """The name of a stream that does not exist yet; it and everything under it is removed afterwards."""
    return f"{keys}jobs"


def _no_key_is_left(server: Server) -> None:
    with server.client() as client:
        left = keys_of(client, server.prefix)
    assert not left, f"keys are left behind on {server.description}: {left[:5]}"


def _living(processes: set[psutil.Process]) -> list[psutil.Process]:
    living = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                living.append(process)
    return living


def _at(home: Path) -> list[psutil.Process]:
    """Servers and guardians of folders in `home`, also those whose parent died: no list of children shows them."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.cwd().startswith(f"{home}/") or f"{home}/" in " ".join(process.cmdline()):
                found.append(process)
    return found


def _containers() -> list[str]:
    from streamlab.servers.container import LABEL
    from streamlab.servers.engine import engine

    try:
        with engine() as docker:
            found = docker.containers.list(all=True, ignore_removed=True, filters={"label": f"{LABEL}={os.getpid()}"})
            return [container.name for container in found]
    except StreamlabError:
        return []
