"""The proxy on the way to a server: by user, password and database, through a Unix socket, through TLS."""

import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError

from streamlab.faults.proxy import Proxy
from streamlab.faults.proxy.toxics import CutReply
from streamlab.servers import connect
from streamlab.servers.binaries import best_binary
from streamlab.servers.own import free_port
from tests.faults.proxied import Raw, in_redis
from tests.servers.test_external import listens, somebody_elses
from tests.waiting import wait_until


def test_user_password_database_and_options_are_those_of_the_server(any_server):
    with Proxy(lambda: any_server.url[:-1] + "3?client_name=me") as proxy, connect(proxy.listen("worker-1")) as client:
        mine = client.client_info()
        assert (mine["db"], mine["name"]) == (3, "me")


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(prefix="wire-", dir="/tmp") as name:
        yield Path(name)


def answers(client):
    with suppress(ConnectionError):
        return client.ping()


def test_a_server_behind_a_unix_socket(folder):
    path = folder / "redis.sock"
    with (
        somebody_elses(best_binary().path, folder, "--port", "0", "--unixsocket", str(path)),
        Proxy(lambda: f"unix://{path}?db=2") as proxy,
        connect(url := proxy.listen("worker-1")) as client,
    ):
        wait_until("it answers", lambda: answers(client))
        mine = client.client_info()
        assert mine["addr"].startswith(str(path))
        assert mine["db"] == 2
        with Raw(url, sign_in=False) as raw:
            raw.ask(["CLIENT", "SETNAME", "raw"], reply=b"+OK\r\n")
            proxy.reset()
            with pytest.raises(ConnectionResetError):
                raw.recv(1)
        wait_until("Redis knows", lambda: answers(client) and not in_redis(client, "raw"))


def test_a_server_behind_tls(folder):
    """The certificate is checked as redis-py does; towards the client it is a plain connection."""
    redis, openssl = shutil.which("redis-server"), shutil.which("openssl")
    if not redis or not openssl:
        pytest.skip("a redis-server with TLS on PATH, or openssl, is missing")
    port, key, certificate = free_port(), folder / "key.pem", folder / "certificate.pem"
    new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost -addext"
    new += f" subjectAltName=IP:127.0.0.1 -keyout {key} -out {certificate}"
    subprocess.run([openssl, *new.split(" ")], check=True, capture_output=True)
    options = f"--tls-port {port} --port 0 --tls-auth-clients no --tls-key-file {key}"
    options += f" --tls-cert-file {certificate} --tls-ca-cert-file {certificate}"
    url = f"rediss://127.0.0.1:{port}/0"
    with somebody_elses(redis, folder, *options.split(" ")):
        wait_until("it listens", lambda: listens(port))
        with (
            Proxy(lambda: f"{url}?ssl_ca_certs={certificate}") as proxy,
            connect(proxy.listen("worker-1")) as client,
            Raw(proxy.listen("worker-2"), sign_in=False) as raw,
        ):
            assert client.set("a", "x" * 3_000_000)
            assert len(client.get("a")) == 3_000_000
            proxy.add("it", CutReply(command="GET"))
            with pytest.raises(ConnectionError):
                client.get("a")
            proxy.reset(["worker-2"])
            with pytest.raises(ConnectionResetError):
                raw.recv(1)
            assert client.ping()
        with Proxy(lambda: url) as proxy, connect(proxy.listen("worker-1")) as client, pytest.raises(ConnectionError):
            client.ping()
