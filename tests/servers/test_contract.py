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

EVERY = pytest.mark.parametrize("at_hand", SERVERS, ids=lambda at_hand: at_hand.id)
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


# What all have -------------------------------------------------------------------------------------


def test_it_says_what_it_is(each: Server) -> None:
    assert each.kind in each.description
    assert each.name in each.description
    assert "\n" not in each.description
    assert each.flavour in ("redis", "valkey")
    assert {"streams", "autoclaim"} <= each.features
    assert each.alive()


def test_it_shows_its_password_to_clients_alone(each: Server) -> None:
    password = each.url.split("@")[0].rpartition(":")[2]
    assert len(password) > 20
    assert password not in each.safe_url + each.description + repr(each)
    with each.client() as client:
        assert client.ping()
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


def test_its_clients_neither_retry_nor_wait_for_ever(each: Server) -> None:
    with each.client() as client, each.client(decode_responses=False, socket_timeout=1) as raw:
        settings = client.connection_pool.connection_kwargs
        assert settings["retry"].get_retries() == 0
        assert settings["socket_timeout"] == 5
        assert raw.connection_pool.connection_kwargs["socket_timeout"] == 1
        client.set(each.prefix + "text", "ä")
        assert client.get(each.prefix + "text") == "ä"
        assert raw.get(each.prefix + "text") == "ä".encode()


def test_stopping_is_final_and_done_once(each: Server) -> None:
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


@EVERY
def test_killed_it_is_gone_and_started_again_it_is_back(at_hand: AtHand) -> None:
    with at_hand.opened(settings={"maxmemory": "123mb"}) as server:
        description, url = server.description, server.url
        server.kill()
        assert not server.alive()
        server.kill()  # the dead do not mind
        server.terminate()
        assert server.description == description
        for use in (server.pause, server.resume):
            with pytest.raises(ServerError, match=r"restart\(\) it first"):
                use()
        with pytest.raises(UsageError, match="'INT': say TERM or KILL"):
            server.restart("INT")  # type: ignore[arg-type]
        server.restart()
        assert server.alive()
        assert server.url == url  # workers know it
        with server.client() as client:
            assert client.config_get("maxmemory")["maxmemory"] == str(123 * 1024 * 1024)


@KINDS
def test_paused_it_is_silent_and_resumed_it_goes_on(at_hand: AtHand) -> None:
    with at_hand.opened() as server, server.client(socket_timeout=0.3) as client:
        client.set(server.prefix + "before", 1)
        server.pause()
        server.pause()
        assert server.alive()
        with pytest.raises(TimeoutError):
            client.ping()
        server.resume()
        server.resume()
        wait_until("the server answers again", lambda: client.get(server.prefix + "before") == "1")
        for how in ("TERM", "KILL"):
            server.pause()
            server.restart(how)
            assert client.ping()
        server.pause()  # and is stopped


@EVERY
def test_what_survives(at_hand: AtHand) -> None:
    """By persistence: whether an entry survives SIGTERM, and SIGKILL, which is no power cut."""
    table = {"rdb": (True, False), "aof-everysec": (True, True)}
    if at_hand in OWN_KINDS:
        table |= {"none": (False, False), "aof-always": (True, True), "aof-no": (True, True)}
    for persistence, survives in table.items():
        with at_hand.opened(persistence) as server, server.client() as client:
            for how, stays in zip(("TERM", "KILL"), survives, strict=True):
                client.xadd(server.prefix + how, {"n": "1"})
                server.restart(how)
                assert bool(client.xlen(server.prefix + how)) == stays, f"{persistence} and SIG{how}"


@EVERY
def test_a_power_cut_takes_the_end_of_the_append_only_file(at_hand: AtHand) -> None:
    with at_hand.opened("aof-always") as server, server.client() as client:
        client.set(server.prefix + "kept", 1)
        size = server.append_only_size()
        client.set(server.prefix + "lost", 1)
        with pytest.raises(ServerError, match=r"kill\(\) it before"):
            server.cut_append_only(1)
        server.kill()
        assert server.cut_append_only(keep=10**9) == 0
        assert server.cut_append_only(5) == 5  # the last command, torn in two
        assert server.cut_append_only(keep=size) > 0
        server.restart()
        assert server.append_only_size() == size
        assert [client.exists(server.prefix + key) for key in ("kept", "lost")] == [1, 0]
        client.set(server.prefix + "new", 1)  # the file is still the server's to write
        server.kill()
        assert server.cut_append_only(10**9) > 0
        server.restart()
        assert client.dbsize() == 0


@KINDS
def test_without_an_append_only_file_there_is_nothing_to_cut(at_hand: AtHand) -> None:
    with at_hand.opened("rdb") as server:
        assert server.append_only_size() == 0
        server.kill()
        assert server.cut_append_only(100) == 0


@KINDS
def test_several_at_once_are_strangers(at_hand: AtHand) -> None:
    with at_hand.opened() as one, one.another("aof-no") as two:
        assert (two.version, two.persistence) == (one.version, "aof-no")
        assert two.url != one.url
        assert two.prefix != one.prefix
        one.kill()
        with two.client() as client:
            assert client.ping()


@KINDS
def test_a_setting_that_it_refuses_is_named(at_hand: AtHand) -> None:
    at_hand.opened().stop()  # missing is another matter
    with pytest.raises(
        UsageError, match=r"refuses its settings: correct or leave out 'maxmemory lots' \(.*memory value"
    ):
        at_hand.open(settings={"maxmemory": "lots"})
    with pytest.raises(UsageError, match="refuses its settings: correct or leave out"):
        at_hand.open(settings={"no-such-setting": "1"})
