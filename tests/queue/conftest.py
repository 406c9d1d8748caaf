"""For tests to which the server's version means nothing."""

import secrets

import pytest


@pytest.fixture
def client_of_any(any_server):
    with any_server.client() as client:
        yield client


@pytest.fixture
def any_stream(any_server, client_of_any):
    stream = f"{any_server.prefix}{secrets.token_hex(4)}"
    yield stream
    for key in client_of_any.scan_iter(match=f"{stream}*", count=500):
        client_of_any.unlink(key)
