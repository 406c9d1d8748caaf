"""Somebody else's Redis by its URL, spared, and every line for those that cannot be used; TLS is in tests/faults."""

from __future__ import annotations

import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamlab.errors import PermissionRefusedError, ServerError, UsageError
from streamlab.servers import ExternalServer, ProcessServer, Server, mask
from streamlab.servers.binaries import best_binary
from tests.waiting import wait_until


@contextmanager
def somebody_elses(binary: Path, folder: Path, *options: str) -> Iterator[None]:
    process = subprocess.Popen([binary, "--dir", folder, "--save", "", *options], stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def listens(port: int) -> bool:
    with socket.socket() as line:
        return line.connect_ex(("127.0.0.1", port)) == 0


def test_by_a_unix_socket() -> None:
    # A short name: pytest's own would not fit into a socket's address on every system.
    with tempfile.TemporaryDirectory(prefix="other-", dir="/tmp") as folder:
        path = Path(folder, "redis.sock")
        with somebody_elses(best_binary().path, Path(folder), "--port", "0", "--unixsocket", str(path)):
            wait_until("the socket is there", path.exists)
            with ExternalServer(f"unix://{path}") as server, server.client() as client:
                assert client.set(server.prefix + "a", 1)
                assert str(path) in server.description


# What it is spared ---------------------------------------------------------------------------------


def test_keys_of_others_are_left_alone_and_keys_that_cannot_be_removed_are_named() -> None:
    with ProcessServer() as theirs, theirs.client() as client:
        client.mset({"mine": 1, "streamlab:other": 2, "streamlab:00000000:run": 3})
        with ExternalServer(theirs.url) as guest, guest.client() as visitor, visitor.pipeline() as many:
            for number in range(1234):  # several batches
                many.set(f"{guest.prefix}{number}", 1)
            many.set(f"{{{guest.prefix}jobs}}:dead", 1)
            many.execute()
        assert sorted(client.keys()) == ["mine", "streamlab:00000000:run", "streamlab:other"]

        guest = ExternalServer(theirs.url)
        theirs.kill()
        assert not guest.alive()
        with pytest.raises(ServerError, match=f"keys {guest.prefix}.* may be left over: no Redis answers at"):
            guest.stop()


# What cannot be used -------------------------------------------------------------------------------


def test_a_url_that_leads_nowhere() -> None:
    for url, error, line in (
        ("http://x:secret@localhost", UsageError, "it starts with redis://, rediss:// or unix://"),
        ("localhost:6379", UsageError, "it starts with redis://, rediss:// or unix://"),
        ("redis://:secret@localhost:port", UsageError, "'port'.*: write it like redis://user:password@host:6379/0"),
        ("redis://:secret@[::1/", UsageError, "cannot read the Redis URL.*: write it like"),
        ("redis://:secret@localhost/jobs", UsageError, "'jobs' is not a database's number.*: write it like"),
        ("redis://:secret@localhost/?colour=red", UsageError, "'colour'.*: write it like"),
        ("redis://:secret@127.0.0.1:1/0", ServerError, "Connection refused.*: start it there, correct the URL"),
        ("redis://:secret@nowhere.invalid/0", ServerError, "nowhere.invalid.*: start it there, correct the URL"),
        ("unix:///nowhere.sock?password=secret", ServerError, "No such file.*: start it there, correct the URL"),
    ):
        with pytest.raises(error, match=line) as caught:
            ExternalServer(url)
        assert "secret" not in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code >= 64


def test_a_wrong_password_or_none_or_no_answer(any_server: Server) -> None:
    login, place = any_server.url.split("@")
    with pytest.raises(PermissionRefusedError, match="asks for a password: put it into the URL") as caught:
        ExternalServer(f"redis://{place}")
    assert caught.value.exit_code == 77
    with pytest.raises(PermissionRefusedError, match=r"refuses the password .*: correct user and password") as caught:
        ExternalServer(f"{login}WRONG@{place}")
    assert "WRONG@" not in str(caught.value)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        with pytest.raises(ServerError, match=r"does not answer in time.*: is it up, and the address right"):
            ExternalServer(f"redis://127.0.0.1:{port}/0?socket_timeout=0.2")


def test_a_masked_url_shows_all_but_the_password() -> None:
    for url, shown in (
        ("redis://:s:e/c?r@et@host:6379/3", "redis://:***@host:6379/3"),
        ("rediss://ann:secret@[::1/", "rediss://ann:***@[::1/"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("unix://ann:secret@/run/redis.sock?db=1", "unix://ann:***@/run/redis.sock?db=1"),
        ("unix:///run/redis.sock?password=secret&db=1", "unix:///run/redis.sock?password=***&db=1"),
        ("rediss://h:1/0?ssl_password=secret", "rediss://h:1/0?ssl_password=***"),
        ("no URL", "no URL"),
    ):
        assert mask(url) == shown
