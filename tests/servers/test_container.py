"""A container: published on loopback only, its password nowhere to be read; and why there is none."""

from __future__ import annotations

import json

import pytest

from streamlab.errors import ServerError, UsageError
from streamlab.servers import ContainerServer
from streamlab.servers.engine import engine
from tests.at_hand import SERVERS


def test_it_is_private_and_alone_and_an_image_that_cannot_be_had_is_told() -> None:
    with SERVERS[3].opened() as server, engine() as docker:
        assert isinstance(server, ContainerServer)
        seen = docker.api.inspect_container(server.container_id)
        published = [address for addresses in seen["NetworkSettings"]["Ports"].values() for address in addresses or []]
        assert {address["HostIp"] for address in published} == {"127.0.0.1"}
        assert server.url.split("@")[0].rpartition(":")[2] not in json.dumps(seen)
        assert not any("ryuk" in container.name for container in docker.containers.list())  # testcontainers' reaper
        docker.containers.get(server.container_id).restart(timeout=1)  # behind the lab's back
        server.restart()
        with server.client() as client:
            assert client.ping()
        for image in ("Foo Bar", "redis:", "", "redis:8.6 --privileged", "-redis"):
            with pytest.raises(UsageError, match="cannot be an image's name: write it like redis:"):
                ContainerServer(image)
        with pytest.raises(ServerError, match=r"no image localhost:1/redis:0\.0, and cannot pull it .*: check"):
            ContainerServer("localhost:1/redis:0.0")
        docker.api.import_image_from_data(b"\0" * 10240, repository="streamlab-test/empty", tag="1")
        try:
            with pytest.raises(ServerError, match="image streamlab-test/empty:1 holds no redis-server: name one like"):
                ContainerServer("streamlab-test/empty:1")
        finally:
            docker.images.remove("streamlab-test/empty:1", force=True)


def test_no_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    for host, line in {
        "tcp://127.0.0.1:1": r"does not answer at tcp://127.0.0.1:1 \(Connection refused\): start it",
        "unix:///nowhere.sock": r"does not answer at unix:///nowhere.sock \(No such file or directory\): start it",
        "tcp://192.0.2.1:2375": r"is on another machine \(192.0.2.1\), whose loopback is not ours: unset DOCKER_HOST",
        "nonsense": r"does not answer at nonsense \(.*\): start it",
    }.items():
        monkeypatch.setenv("DOCKER_HOST", host)
        with pytest.raises(ServerError, match=f"Docker {line}.*or use --server process") as caught:
            ContainerServer()
        assert "\n" not in str(caught.value)
