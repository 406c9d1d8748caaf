"""What every server keeps to, whatever its kind: the same tests for a process, a container and somebody else's."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest
from redis.exceptions import AuthenticationError, ConnectionError, TimeoutError

from streamlab.errors import ServerError, UnsupportedError, UsageError
from streamlab.servers import ABILITIES, ExternalServer, ProcessServer, Server
from streamlab.servers.reach import connect
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


def password_of(server: Server) -> str:
    return server.url.split("@")[0].rpartition(":")[2]


# What all have -------------------------------------------------------------------------------------


def test_it_says_what_it_is(each: Server) -> None:
    assert each.kind in each.description
    assert each.version in each.description
    assert "\n" not in each.description
    assert each.flavour in ("redis", "valkey")
    assert {"streams", "autoclaim"} <= each.features
    assert each.abilities == (frozenset() if each.kind == "external" else ABILITIES)
    assert each.alive()


def test_it_shows_its_password_to_clients_alone(each: Server) -> None:
    password = password_of(each)
    assert len(password) > 20
    assert password not in each.safe_url + each.description + repr(each)
    with each.client() as client:
        assert client.ping()
    for url in (each.url.replace(password, "wrong"), each.url.replace(f":{password}@", "")):
        with connect(url) as stranger, pytest.raises((AuthenticationError, ConnectionError)):
            stranger.ping()


def test_no_list_of_processes_shows_the_password(each: Server) -> None:
    password = password_of(each)
    for process in psutil.process_iter():
        try:
            assert password not in " ".join(process.cmdline() + list(process.environ().values()))
        except psutil.Error:
            continue


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
    for use in (lambda: each.url, each.client, each.kill, each.restart, each.log, each.pause):
        with pytest.raises(ServerError, match="was stopped: open a new one"):
            use()


# What the lab can do to its own --------------------------------------------------------------------


@EVERY
def test_killed_it_is_gone_and_started_again_it_is_back(at_hand: AtHand) -> None:
    with at_hand.opened() as server:
        version = server.version
        server.kill()
        assert not server.alive()
        server.kill()  # the dead do not mind
        assert version in server.description
        for use in (server.pause, server.resume, lambda: server.features):
            with pytest.raises(ServerError, match=r"restart\(\) it first"):
                use()
        server.restart()
        with server.client() as client:
            assert client.ping()
        assert server.alive()


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


@KINDS
@pytest.mark.parametrize("how", ["TERM", "KILL"])
def test_paused_it_can_be_restarted_and_stopped(at_hand: AtHand, how: str) -> None:
    with at_hand.opened() as server:
        server.pause()
        server.restart(how)
        with server.client() as client:
            assert client.ping()
        server.pause()


@EVERY
@pytest.mark.parametrize(
    ("persistence", "after_term", "after_kill"), [("rdb", True, False), ("aof-everysec", True, True)]
)
def test_what_survives_on_every_server(at_hand: AtHand, persistence: str, after_term: bool, after_kill: bool) -> None:
    survives(at_hand, persistence, after_term, after_kill)


@KINDS
@pytest.mark.parametrize(
    ("persistence", "after_term", "after_kill"),
    [
        ("none", False, False),
        ("aof-always", True, True),
        ("aof-no", True, True),  # SIGKILL is no power cut: what was written is the kernel's
    ],
)
def test_what_survives(at_hand: AtHand, persistence: str, after_term: bool, after_kill: bool) -> None:
    survives(at_hand, persistence, after_term, after_kill)


def survives(at_hand: AtHand, persistence: str, after_term: bool, after_kill: bool) -> None:
    with at_hand.opened(persistence) as server:
        for how, stays in (("KILL", after_kill), ("TERM", after_term)):
            key = server.prefix + how
            with server.client() as client:
                client.xadd(key, {"n": "1"})
            server.restart(how)
            with server.client() as client:
                assert bool(client.xlen(key)) == stays, f"{persistence} and SIG{how}"


@KINDS
def test_its_settings_and_its_address_outlive_a_restart(at_hand: AtHand) -> None:
    with at_hand.opened(settings={"maxmemory": "123mb"}) as server:
        url = server.url
        server.restart("KILL")
        with server.client() as client:
            assert client.config_get("maxmemory")["maxmemory"] == str(123 * 1024 * 1024)
        assert server.url == url  # workers know it


@KINDS
def test_its_log_tells_of_its_start(at_hand: AtHand) -> None:
    with at_hand.opened() as server:
        wait_until("the log tells", lambda: "Ready to accept connections" in server.log())
        assert password_of(server) not in server.log()


@KINDS
def test_several_at_once_are_strangers(at_hand: AtHand) -> None:
    with at_hand.opened() as one, at_hand.opened() as two, at_hand.opened() as three:
        servers = (one, two, three)
        assert len({server.url for server in servers}) == 3
        assert len({server.prefix for server in servers}) == 3
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


@KINDS
def test_a_restart_is_by_term_or_kill(at_hand: AtHand) -> None:
    with at_hand.opened() as server, pytest.raises(UsageError, match="'INT': say TERM or KILL"):
        server.restart("INT")  # type: ignore[arg-type]


# What somebody else's is spared --------------------------------------------------------------------


def test_somebody_elses_server_cannot_be_broken(any_server: Server) -> None:
    with ExternalServer(any_server.url) as guest:
        for name in ("kill", "pause", "resume", "restart", "log"):
            with pytest.raises(UnsupportedError, match=r"somebody else's Redis .*: use --server process or container"):
                getattr(guest, name)()
        with any_server.client() as client:
            assert client.ping()


def test_somebody_elses_keys_are_left_alone() -> None:
    with ProcessServer() as theirs, theirs.client() as client:
        client.mset({"mine": 1, "streamlab:other": 2, "streamlab:00000000:run": 3})
        with ExternalServer(theirs.url) as guest, guest.client() as visitor, visitor.pipeline() as many:
            for number in range(1234):  # several batches
                many.set(f"{guest.prefix}{number}", 1)
            many.execute()
        assert sorted(client.keys()) == ["mine", "streamlab:00000000:run", "streamlab:other"]


def test_keys_that_cannot_be_removed_are_named() -> None:
    with ProcessServer() as theirs:
        guest = ExternalServer(theirs.url)
        theirs.kill()
        assert not guest.alive()
        with pytest.raises(ServerError, match=f"keys {guest.prefix}.* may be left over: no Redis answers at"):
            guest.stop()
