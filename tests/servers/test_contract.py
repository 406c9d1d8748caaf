"""What every server keeps to, whatever its kind: the same tests for a process, a container and somebody else's."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest
from redis.exceptions import AuthenticationError, ConnectionError, TimeoutError

from streamlab.errors import ServerError, UsageError
from streamlab.servers import ExternalServer, OwnServer, ProcessServer, Server, connect
from tests.at_hand import OWN_KINDS, SERVERS, AtHand
from tests.waiting import wait_until

KINDS = pytest.mark.parametrize("at_hand", OWN_KINDS, ids=lambda at_hand: at_hand.id)


@pytest.fixture(params=[*OWN_KINDS, "external"], ids=lambda param: getattr(param, "id", param))
def each(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of each kind, fresh for one test."""
    if request.param == "external":
        with ProcessServer() as theirs, ExternalServer(theirs.url) as server:
            yield server
    else:
        with request.param.opened() as server:
            yield server


def test_it_says_what_it_is_shows_its_password_to_clients_alone_and_is_stopped_once(each: Server) -> None:
    assert each.kind in each.description
    assert each.name in each.description
    assert each.alive()
    password = each.url.split("@")[0].rpartition(":")[2]
    assert len(password) > 20
    assert password not in each.safe_url + each.description + repr(each)
    with each.client() as client, each.client(decode_responses=False) as raw:
        client.set(each.prefix + "text", "ä")
        assert (client.get(each.prefix + "text"), raw.get(each.prefix + "text")) == ("ä", "ä".encode())
    for url in (each.url.replace(password, "wrong"), each.url.replace(f":{password}@", "")):
        with connect(url) as stranger, pytest.raises((AuthenticationError, ConnectionError)):
            stranger.ping()
    for process in psutil.process_iter():
        try:
            assert password not in " ".join(process.cmdline() + list(process.environ().values()))
        except psutil.Error:
            continue
    if isinstance(each, OwnServer):
        wait_until("the log tells", lambda: "Ready to accept connections" in each.log())
        assert password not in each.log()

    each.stop()
    each.stop()
    assert not each.alive()
    assert "stopped" in repr(each)
    uses = [lambda: each.url, each.client]
    if isinstance(each, OwnServer):
        uses += [each.kill, each.terminate, each.restart, each.log, each.pause, each.resume]
    for use in uses:
        with pytest.raises(ServerError, match="was stopped: open a new one"):
            use()


# What the lab can do to its own --------------------------------------------------------------------


@KINDS
def test_killed_it_is_gone_paused_it_is_silent_and_both_can_be_undone(at_hand: AtHand) -> None:
    with at_hand.opened(settings={"maxmemory": "123mb"}) as server, server.client(socket_timeout=0.3) as client:
        url = server.url
        server.kill()
        assert not server.alive()
        server.kill()  # the dead do not mind
        for use in (server.pause, server.resume):
            with pytest.raises(ServerError, match=r"restart\(\) it first"):
                use()
        server.restart()
        assert server.url == url  # workers know it
        assert client.config_get("maxmemory")["maxmemory"] == str(123 * 1024 * 1024)

        server.pause()
        assert server.alive()
        with pytest.raises(TimeoutError):  # and is not retried
            client.ping()
        server.resume()
        wait_until("the server answers again", client.ping)
        with server.another("aof-no") as stranger:
            server.pause()
            server.restart("KILL")
            assert client.ping()
            assert (stranger.version, stranger.persistence) == (server.version, "aof-no")
            with stranger.client() as other:
                assert other.ping()
        server.pause()  # and is stopped


@KINDS
def test_what_survives(at_hand: AtHand) -> None:
    """By persistence: whether an entry survives SIGTERM, and SIGKILL, which is no power cut."""
    for persistence, survives in {"none": (False, False), "rdb": (True, False), "aof-everysec": (True, True)}.items():
        with at_hand.opened(persistence) as server, server.client() as client:
            for how, stays in zip(("TERM", "KILL"), survives, strict=True):
                client.xadd(server.prefix + how, {"n": "1"})
                server.restart(how)
                assert bool(client.xlen(server.prefix + how)) == stays, f"{persistence} and SIG{how}"


@pytest.mark.parametrize("at_hand", [*OWN_KINDS, SERVERS[1]], ids=lambda at_hand: at_hand.id)
def test_a_power_cut_takes_the_end_of_the_append_only_file(at_hand: AtHand) -> None:
    with at_hand.opened("aof-always") as server, server.client() as client:
        client.set(server.prefix + "kept", 1)
        size = server.append_only_size()
        client.set(server.prefix + "lost", 1)
        with pytest.raises(ServerError, match=r"kill\(\) it before"):
            server.cut_append_only(1)
        server.kill()
        assert server.cut_append_only(5) == 5  # the last command, torn in two
        assert server.cut_append_only(server.append_only_size() - size) > 0
        server.restart()
        assert [client.exists(server.prefix + key) for key in ("kept", "lost")] == [1, 0]
        client.set(server.prefix + "new", 1)  # the file is still the server's to write
        server.kill()
        assert server.cut_append_only(10**9) > 0
        server.restart()
        assert client.dbsize() == 0


@KINDS
def test_a_setting_that_it_refuses_is_named(at_hand: AtHand) -> None:
    at_hand.opened().stop()  # skips where it is missing
    with pytest.raises(
        UsageError, match=r"refuses its settings: correct or leave out 'maxmemory lots' \(.*memory value"
    ):
        at_hand.open(settings={"maxmemory": "lots"})
    with pytest.raises(UsageError, match="refuses its settings: correct or leave out"):
        at_hand.open(settings={"no-such-setting": "1"})
