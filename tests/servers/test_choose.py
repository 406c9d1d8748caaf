"""One word, an image or a URL, from the caller or the environment; and `auto`, which never fails for want of Docker."""

from __future__ import annotations

import subprocess
import sys

import pytest

import streamlab as sl
from streamlab.errors import ServerError, StreamlabError, UnsupportedError, UsageError, what_and_fix
from streamlab.servers import ContainerServer, ExternalServer, ProcessServer, Server, open_server
from streamlab.servers.engine import images
from tests.at_hand import SERVERS


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STREAMLAB_SERVER", raising=False)
    monkeypatch.delenv("STREAMLAB_REDIS_URL", raising=False)


@pytest.fixture
def no_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")


def docker_has(image: str) -> bool:
    try:
        return image in images()
    except StreamlabError:
        return False


def test_auto_prefers_docker_where_it_is_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    with open_server("auto", say=said.append) as server:
        at_hand = docker_has("redis:8.6")
        assert isinstance(server, ContainerServer if at_hand else ProcessServer)
    assert len(said) == 1
    assert ("Docker answers and has the image" in said[0]) == at_hand
    monkeypatch.setattr("streamlab.servers.choose.DEFAULT_IMAGE", "localhost:1/redis:0.0")
    with open_server("auto", say=said.append) as server:
        assert isinstance(server, ProcessServer)
    assert "(Docker " in said[1]


@pytest.mark.usefixtures("no_docker")
def test_auto_does_without_docker_and_says_why() -> None:
    said: list[str] = []
    for where in ("auto", None, ""):
        with open_server(where, persistence="aof-always", say=said.append) as server:
            assert isinstance(server, ProcessServer)
            with server.client() as client:
                assert client.config_get("appendfsync")["appendfsync"] == "always"
            why = "Docker does not answer at tcp://127.0.0.1:1 (Connection refused)"
            assert said.pop() == f"server: {server.description} ({why})"


def test_the_environment_names_the_server_of_a_lab(
    monkeypatch: pytest.MonkeyPatch, any_server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    for named, kind in (("process", ProcessServer), (any_server.url, ExternalServer)):
        monkeypatch.setenv("STREAMLAB_SERVER", named)
        with sl.Lab() as lab:
            assert isinstance(lab.server, kind)
            assert capsys.readouterr().out == f"server: {lab.server.description} (STREAMLAB_SERVER is set)\n"
    with sl.Lab("process") as lab:  # what is asked for by name is what one gets
        assert isinstance(lab.server, ProcessServer)
        assert capsys.readouterr().out == f"server: {lab.server.description} (as asked)\n"
    monkeypatch.setenv("STREAMLAB_SERVER", "nonsense")
    with pytest.raises(UsageError, match="unknown server 'nonsense'"):
        sl.Lab()


def test_an_image_is_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    SERVERS[4].opened().stop()
    monkeypatch.setenv("STREAMLAB_SERVER", "redis:7.0")
    with open_server() as server, open_server("valkey/valkey:9.1") as other:
        assert server.version.startswith("7.0")
        assert other.flavour == "valkey"


def test_the_url_goes_before_docker(monkeypatch: pytest.MonkeyPatch, any_server: Server) -> None:
    monkeypatch.setenv("STREAMLAB_REDIS_URL", any_server.url)
    said: list[str] = []
    with open_server(say=said.append) as server:
        assert isinstance(server, ExternalServer)
    assert said == [f"server: external, {any_server.name}, {any_server.safe_url} (STREAMLAB_REDIS_URL is set)"]
    with open_server("process") as server:
        assert isinstance(server, ProcessServer)
    monkeypatch.setenv("STREAMLAB_REDIS_URL", "redis://127.0.0.1:1/0")
    with pytest.raises(ServerError, match="no Redis answers at redis://127"):
        open_server()


@pytest.mark.usefixtures("no_docker")
def test_what_cannot_be_opened(any_server: Server) -> None:
    assert open_server(any_server) is any_server
    for where in ("docker", "localhost:6379"):
        with pytest.raises(UsageError, match=f"unknown server '{where}': say auto, process, container, an image"):
            open_server(where)
    for where in ("container", "redis:7.0"):
        with pytest.raises(ServerError, match="Docker does not answer"):
            open_server(where)
    with pytest.raises(UsageError, match="the setting 'port' is the lab's own"):
        open_server("auto", settings={"port": "1"})
    with pytest.raises(UnsupportedError, match="external Redis are its owner's: leave them out"):
        open_server(any_server.url, persistence="rdb")


def test_importing_it_loads_nothing_heavy() -> None:
    script = (
        "import sys, streamlab.servers\n"
        "heavy = {'pandas', 'matplotlib', 'testcontainers', 'docker', 'psutil', 'rich', 'IPython'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_an_error_is_taken_apart() -> None:
    for line, what, fix in (
        ("port 1 is taken: end it", "port 1 is taken", "end it"),
        ("no Docker (Error 2: no socket [a: b]): start: it", "no Docker (Error 2: no socket [a: b])", "start: it"),
        ("redis://:***@h:1/0 is mute", "redis://:***@h:1/0 is mute", ""),
        ("odd ) bracket: mend", "odd ) bracket", "mend"),
    ):
        assert what_and_fix(line) == (what, fix)
