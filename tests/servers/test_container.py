"""A container: published on loopback only, its password nowhere to be read, gone however its parent ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from streamlab.errors import ServerError, StreamlabError, UsageError
from streamlab.servers import ContainerServer
from streamlab.servers.engine import engine
from tests.at_hand import SERVERS, AtHand
from tests.waiting import wait_until

CONTAINERS = pytest.mark.parametrize("at_hand", SERVERS[3:], ids=lambda at_hand: at_hand.id)


@pytest.fixture
def docker() -> Iterator[Any]:
    try:
        with engine() as docker:
            yield docker
    except ServerError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@CONTAINERS
def test_it_is_published_on_loopback_only_and_hides_its_password(at_hand: AtHand, docker: Any) -> None:
    with at_hand.opened() as server:
        assert isinstance(server, ContainerServer)
        seen = docker.api.inspect_container(server.container_id)
        assert {port["HostIp"] for port in seen["NetworkSettings"]["Ports"]["6379/tcp"]} == {"127.0.0.1"}
        assert server.url.split("@")[0].rpartition(":")[2] not in json.dumps(seen)


def test_no_reaper_is_started(docker: Any) -> None:
    before = {container.id for container in docker.containers.list(all=True, ignore_removed=True)}
    with SERVERS[3].opened() as server:
        assert isinstance(server, ContainerServer)
        names = [c.name for c in docker.containers.list(all=True, ignore_removed=True) if c.id not in before]
        assert not any("ryuk" in name for name in names)


def test_the_port_is_read_afresh(docker: Any) -> None:
    with SERVERS[3].opened() as server:
        assert isinstance(server, ContainerServer)
        number = server.container_id
        docker.containers.get(number).restart(timeout=1)  # behind the lab's back
        wait_until("it answers", lambda: answers(server))
        server.restart()
        assert server.container_id == number


def answers(server: ContainerServer) -> bool:
    from redis.exceptions import RedisError

    try:
        with server.client() as client:
            return bool(client.ping())
    except (RedisError, StreamlabError):
        return False


PARENT = """
import time
from streamlab.servers import ContainerServer
server = ContainerServer()
if {paused}:
    server.pause()
print(server.container_id, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("paused", [False, True], ids=["running", "paused"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=lambda number: number.name)
def test_it_does_not_outlive_its_parent(docker: Any, number: signal.Signals, paused: bool) -> None:
    SERVERS[3].opened().stop()
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(paused=paused)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout
    container = parent.stdout.readline().strip()
    assert container
    os.killpg(parent.pid, number)
    parent.communicate(timeout=20)
    wait_until(
        "the container is gone",
        lambda: not docker.containers.list(all=True, ignore_removed=True, filters={"id": container}),
    )


@pytest.mark.parametrize("image", ["Foo Bar", "redis:", "", "redis:8.6 --privileged", "-redis"])
def test_what_cannot_be_an_image(docker: Any, image: str) -> None:
    with pytest.raises(UsageError, match="cannot be an image's name: write it like redis:"):
        ContainerServer(image)


def test_an_image_that_cannot_be_had(docker: Any) -> None:
    with pytest.raises(ServerError, match=r"no image localhost:1/redis:0\.0, and cannot pull it .*: check its name"):
        ContainerServer("localhost:1/redis:0.0")


@pytest.fixture
def no_redis(docker: Any) -> Iterator[str]:
    """An image with nothing in it."""
    name = "streamlab-test/empty:1"
    docker.api.import_image_from_data(EMPTY_TAR, repository="streamlab-test/empty", tag="1")
    yield name
    docker.images.remove(name, force=True)


EMPTY_TAR = b"\0" * 10240


def test_an_image_without_a_redis(no_redis: str) -> None:
    with pytest.raises(ServerError, match=f"image {no_redis} holds no redis-server: name one like redis:"):
        ContainerServer(no_redis)


@pytest.mark.parametrize(
    ("host", "line"),
    [
        ("tcp://127.0.0.1:1", r"does not answer at tcp://127.0.0.1:1 \(Connection refused\): start it"),
        ("unix:///nowhere.sock", r"does not answer at unix:///nowhere.sock \(No such file or directory\): start it"),
        ("tcp://192.0.2.1:2375", r"is on another machine \(192.0.2.1\), whose loopback is not ours: unset DOCKER_HOST"),
        ("nonsense", r"does not answer at nonsense \(.*\): start it"),
    ],
)
def test_no_docker(monkeypatch: pytest.MonkeyPatch, host: str, line: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    with pytest.raises(ServerError, match=f"Docker {line}.*or use --server process") as caught:
        ContainerServer()
    assert "\n" not in str(caught.value)
