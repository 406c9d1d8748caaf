"""One word or a URL, and `auto`, which never fails for want of Docker."""

from __future__ import annotations

import subprocess
import sys

import pytest

from streamlab.errors import ServerError, StreamlabError, UnsupportedError, UsageError
from streamlab.servers import ContainerServer, ExternalServer, ProcessServer, Server, open_server
from streamlab.servers.engine import images
from streamlab.servers.lines import what_and_fix


@pytest.fixture(autouse=True)
def no_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STREAMLAB_REDIS_URL", raising=False)


@pytest.fixture
def no_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")


def docker_has(image: str) -> bool:
    try:
        return image in images()
    except StreamlabError:
        return False


def test_auto_prefers_docker_where_it_is_at_hand() -> None:
    said: list[str] = []
    with open_server("auto", say=said.append) as server:
        at_hand = docker_has("redis:8.6")
        assert isinstance(server, ContainerServer if at_hand else ProcessServer)
    assert len(said) == 1
    assert ("Docker answers and has the image" in said[0]) == at_hand


@pytest.mark.usefixtures("no_docker")
@pytest.mark.parametrize("where", ["auto", None, ""])
def test_auto_does_without_docker_and_says_why(where: str | None) -> None:
    said: list[str] = []
    with open_server(where, persistence="aof-always", say=said.append) as server:
        assert isinstance(server, ProcessServer)
        with server.client() as client:
            assert client.config_get("appendfsync")["appendfsync"] == "always"
        why = "Docker does not answer at tcp://127.0.0.1:1 (Connection refused)"
        assert said == [f"server: {server.description} ({why})"]


def test_auto_does_without_the_image() -> None:
    said: list[str] = []
    with open_server("auto", image="localhost:1/redis:0.0", say=said.append) as server:
        assert isinstance(server, ProcessServer)
    assert len(said) == 1
    assert "Docker" in said[0]


def test_the_url_goes_before_all(monkeypatch: pytest.MonkeyPatch, any_server: Server) -> None:
    monkeypatch.setenv("STREAMLAB_REDIS_URL", any_server.url)
    said: list[str] = []
    with open_server(say=said.append) as server:
        assert isinstance(server, ExternalServer)
    assert said == [f"server: external, {any_server.name}, {any_server.safe_url} (STREAMLAB_REDIS_URL is set)"]
    with open_server("process") as server:  # what is asked for by name is what one gets
        assert isinstance(server, ProcessServer)
    monkeypatch.setenv("STREAMLAB_REDIS_URL", "redis://127.0.0.1:1/0")
    with pytest.raises(ServerError, match="no Redis answers at redis://127"):
        open_server()


def test_a_server_is_handed_through(any_server: Server) -> None:
    assert open_server(any_server) is any_server


@pytest.mark.usefixtures("no_docker")
def test_what_cannot_be_opened(any_server: Server) -> None:
    with pytest.raises(
        UsageError, match="unknown server 'docker': say auto, process, container, or a URL such as redis://"
    ):
        open_server("docker")
    with pytest.raises(ServerError, match="Docker does not answer"):
        open_server("container")
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


@pytest.mark.parametrize(
    ("line", "what", "fix"),
    [
        ("port 1 is taken: end it", "port 1 is taken", "end it"),
        ("no Docker (Error 2: no socket [a: b]): start: it", "no Docker (Error 2: no socket [a: b])", "start: it"),
        ("redis://:***@h:1/0 is mute", "redis://:***@h:1/0 is mute", ""),
        ("odd ) bracket: mend", "odd ) bracket", "mend"),
    ],
)
def test_a_line_is_taken_apart(line: str, what: str, fix: str) -> None:
    assert what_and_fix(line) == (what, fix)
