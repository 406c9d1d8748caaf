"""A group that is there already; and, for tests to which the server's version means nothing, any server."""

import secrets

import pytest

from tests.at_hand import keys_of
from tests.queue.helpers import GROUP


@pytest.fixture
def client_of_any(any_server):
    with any_server.client() as client:
        yield client


@pytest.fixture
def any_stream(any_server, client_of_any):
    stream = f"{any_server.prefix}{secrets.token_hex(4)}"
    yield stream
    for key in keys_of(client_of_any, stream):
        client_of_any.unlink(key)


@pytest.fixture
def group(client, stream):
    client.xgroup_create(stream, GROUP, id="0", mkstream=True)
    return GROUP
