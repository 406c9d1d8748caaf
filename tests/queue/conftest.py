"""A queue on each server; and one on any server, for tests to which the server's version means nothing."""

import secrets

import pytest

from streamlab.queue import loop
from tests.at_hand import keys_of
from tests.queue.helpers import Queue


@pytest.fixture(params=[1, 4])
def threads(request):
    return request.param


@pytest.fixture(autouse=True)
def short_reads(monkeypatch):
    """Let reads wait a tenth of a second and not a whole one: most tests would do nothing but wait for `stop`."""
    monkeypatch.setattr(loop, "_BLOCK", 0.1)


@pytest.fixture
def q(server, client, stream):
    queue = Queue(server, client, stream)
    yield queue
    queue.close()


@pytest.fixture
def q1(any_server):
    with any_server.client() as client:
        queue = Queue(any_server, client, f"{any_server.prefix}{secrets.token_hex(4)}")
        yield queue
        queue.close()
        for key in keys_of(client, queue.stream):
            client.unlink(key)
