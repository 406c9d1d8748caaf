"""One word, an image or a URL, from the caller or the environment; and `auto`, which never fails for want of Docker."""

from __future__ import annotations

import subprocess
import sys

import pytest

import streamlab as sl
from streamlab.errors import ServerError, StreamlabError, UnsupportedError, UsageError, what_and_fix
from streamlab.servers import ContainerServer, ExternalServer, ProcessServer, Server, open_server
from streamlab.servers.engine import images


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STREAMLAB_SERVER", raising=False)
    monkeypatch.delenv("STREAMLAB_REDIS_URL", raising=False)


def in_docker() -> list[str]:
    try:
        return images()
    except StreamlabError:
        return []


def test_auto_prefers_docker_where_it_is_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    with open_server("auto", say=said.append) as server:
        at_hand = "redis:8.6" in in_docker()
        assert isinstance(server, ContainerServer if at_hand else ProcessServer)
    assert len(said) == 1
    assert ("Docker answers and has the image" in said[0]) == at_hand
    monkeypatch.setattr("streamlab.servers.choose.DEFAULT_IMAGE", "localhost:1/redis:0.0")
    with open_server("auto", say=said.append) as server:
        assert isinstance(server, ProcessServer)
    assert "(Docker " in said[1]


def test_what_is_named_by_word_image_url_or_environment_is_what_one_gets(
    monkeypatch: pytest.MonkeyPatch, any_server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    named: list[tuple[str, type[Server]]] = [("process", ProcessServer), (any_server.url, ExternalServer)]
    if "valkey/valkey:9.1" in in_docker():
        named.append(("valkey/valkey:9.1", ContainerServer))
    for where, kind in named:
        monkeypatch.setenv("STREAMLAB_SERVER", where)
        with sl.Lab() as lab:
            assert isinstance(lab.server, kind)
            assert capsys.readouterr().out == f"server: {lab.server.description} (STREAMLAB_SERVER is set)\n"
    with sl.Lab("process") as lab:
        assert isinstance(lab.server, ProcessServer)
        assert capsys.readouterr().out == f"server: {lab.server.description} (as asked)\n"
    assert open_server(any_server) is any_server

    monkeypatch.setenv("STREAMLAB_SERVER", "auto")
    monkeypatch.setenv("STREAMLAB_REDIS_URL", any_server.url)  # goes before Docker
    said: list[str] = []
    with open_server(say=said.append) as server:
        assert isinstance(server, ExternalServer)
    assert said == [f"server: external, {any_server.name}, {any_server.safe_url} (STREAMLAB_REDIS_URL is set)"]
    monkeypatch.setenv("STREAMLAB_REDIS_URL", "redis://127.0.0.1:1/0")
    with pytest.raises(ServerError, match="no Redis answers at redis://127"):
        open_server()


def test_without_docker_auto_says_why_and_what_cannot_be_opened_what_to_do(
    monkeypatch: pytest.MonkeyPatch, any_server: Server
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    said: list[str] = []
    with open_server(persistence="aof-always", say=said.append) as server, server.client() as client:
        assert isinstance(server, ProcessServer)
        assert client.config_get("appendfsync")["appendfsync"] == "always"
        why = "Docker does not answer at tcp://127.0.0.1:1 (Connection refused)"
        assert said == [f"server: {server.description} ({why})"]
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


def test_an_error_is_taken_apart() -> None:
    for line, what, fix in (
        ("port 1 is taken: end it", "port 1 is taken", "end it"),
        ("no Docker (Error 2: no socket [a: b]): start: it", "no Docker (Error 2: no socket [a: b])", "start: it"),
        ("redis://:***@h:1/0 is mute", "redis://:***@h:1/0 is mute", ""),
    ):
        assert what_and_fix(line) == (what, fix)


def test_importing_it_loads_nothing_heavy() -> None:
    heavy = "{'pandas', 'matplotlib', 'testcontainers', 'docker', 'psutil', 'rich', 'IPython'}"
    code = f"import sys, streamlab.servers, streamlab.learn; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
