"""What the tests of faults share: a proxy on a real server, and a run context without a run."""

import secrets
from types import SimpleNamespace

import pytest

from streamlab.faults.proxy import Proxy
from streamlab.servers import connect
from tests.faults.proxied import Logs, Raw


@pytest.fixture
def direct(any_server):
    """A client beside the proxy."""
    with any_server.client() as client:
        yield client


@pytest.fixture
def key(any_server, direct):
    key = f"{any_server.prefix}{secrets.token_hex(4)}"
    yield key
    for left in direct.scan_iter(match=f"{key}*", count=500):
        direct.unlink(left)


@pytest.fixture
def logs():
    return Logs()


@pytest.fixture
def proxy(any_server, logs):
    with Proxy(lambda: any_server.url, logs) as proxy:
        yield proxy


@pytest.fixture
def one(proxy):
    with connect(proxy.listen("worker-1")) as client:
        client.ping()
        yield client


@pytest.fixture
def two(proxy):
    with connect(proxy.listen("worker-2")) as client:
        client.ping()
        yield client


@pytest.fixture
def raw(proxy):
    with Raw(proxy.listen("worker-1")) as raw:
        yield raw


@pytest.fixture
def context(any_server, direct, proxy, key):
    """What a fault may reach: two workers that are no processes."""
    return SimpleNamespace(
        server=any_server,
        client=direct,
        proxy=proxy,
        stream=key,
        group="g",
        custom=False,
        workers=lambda: ["worker-1", "worker-2"],
        oldest=lambda: "worker-2",
    )
