"""The proxy on a real server: what passes is unharmed, and each trouble has its effect and its end."""

import gc
import random
import secrets
import threading
import time
from contextlib import ExitStack
from urllib.parse import unquote, urlsplit

import pytest
from redis.exceptions import ConnectionError, TimeoutError

from streamlab.errors import ServerError, UsageError
from streamlab.faults.proxy import Wire
from streamlab.faults.trouble import Cut, Held, Late, Lost, Narrow, Refused
from streamlab.servers import ProcessServer, connect
from tests.faults.proxied import OK, Journals, Raw, in_redis, said
from tests.waiting import wait_until


@pytest.fixture
def direct(any_server):
    with any_server.client() as client:
        yield client


@pytest.fixture
def key(any_server, direct):
    key = f"{any_server.prefix}{secrets.token_hex(4)}"
    yield key
    for left in direct.scan_iter(match=f"{key}*", count=500):
        direct.unlink(left)


@pytest.fixture
def journals():
    return Journals()


@pytest.fixture
def wire(any_server, journals):
    with Wire(lambda: any_server.url, journals) as wire:
        yield wire


@pytest.fixture
def client(wire):
    with connect(wire.open("worker-1")) as client:
        client.ping()
        yield client


@pytest.fixture
def raw(wire):
    with Raw(wire.open("worker-1")) as raw:
        yield raw


# ------------------------------------------------------------------------------------------------- what passes


def test_ten_thousand_messages_pass_unharmed_wherever_their_bytes_are_cut(direct, wire, journals, raw, key):
    chance = random.Random(7)
    count = 10_000
    data = said(*(["XADD", key, f"1-{job + 1}", "job", job, "blob", "x" * (job % 50)] for job in range(count)))
    expected = b"".join(b"$%d\r\n%s\r\n" % (len(entry), entry) for entry in (b"1-%d" % (n + 1) for n in range(count)))
    replies = []
    reader = threading.Thread(target=lambda: replies.append(raw.exactly(len(expected))))
    reader.start()
    at = 0
    while at < len(data):
        size = chance.choice((1, 3, 10, 100, 1000, 10_000, 50_000))
        raw.sendall(data[at : at + size])
        at += size
    reader.join()
    assert replies == [expected]
    stored = direct.xrange(key)
    assert [fields["job"] for _, fields in stored] == [str(job) for job in range(count)]
    assert [len(fields["blob"]) for _, fields in stored] == [job % 50 for job in range(count)]
    assert [(entry, job) for entry, job, *_ in journals.wire.of("wire_added")] == [
        (f"1-{job + 1}", job) for job in range(count)
    ]


def test_a_long_reply_waits_for_its_reader_and_not_in_our_memory(wire, raw, direct, key):
    """While it is held, Redis's socket is not read any further; then all of it arrives."""
    value = random.Random(7).randbytes(20 << 20)
    direct.set(key, value)
    held = Held(direction="replies")
    wire.impose("it", held)
    raw.sendall(said(["GET", key]))
    wait_until("some of it is held", lambda: held.hit)
    wait_until(
        "no more is taken", lambda before=[-1]: before[0] == held.hit or before.__setitem__(0, held.hit), every=0.1
    )
    assert held.hit < 2 << 20
    wire.lift("it")
    assert raw.exactly(11 + len(value) + 2)[11:-2] == value


@pytest.mark.parametrize(
    "garbage", [b"*1\r\n:1\r\n", b"*-7\r\n$$$\r\n", b"\x00\xff" * 40_000, b"*2\r\n$4\r\nPING\r\n!"]
)
def test_garbage_gets_the_servers_own_answer(any_server, wire, garbage):
    """The connection becomes a plain pipe; others are as they were."""
    url = wire.open("worker-1")
    answers = []
    for where in (any_server.url, url):
        with Raw(where) as raw:
            raw.sendall(said(["PING"]) + garbage + b"\r\n\r\n")
            answers.append(raw.exactly(7) + b" " + raw.recv(20)[:20])
    assert answers[0] == answers[1]
    with connect(url) as client:
        assert client.ping()


def test_what_is_not_understood_passes(wire, raw, client, key):
    raw.sendall(said(["SUBSCRIBE", key, key + "2"], ["PING"]))
    wait_until("it is subscribed", lambda: client.publish(key, "hello"))
    raw.sendall(said(["CLIENT", "REPLY", "SKIP"], ["UNSUBSCRIBE"], ["ECHO", "end"]))
    raw.settimeout(2)
    data = b""
    while not data.endswith(b"$3\r\nend\r\n"):
        data += raw.recv(1000)
    assert b"hello" in data


def test_inline_commands_and_half_a_connection(raw, key, journals):
    """As from `printf 'PING\\r\\n' | nc`: the replies still come, and then the end."""
    raw.sendall(b"PING\r\n\r\n*0\r\n" + f"XADD {key} 1-1 job 3\n".encode())
    assert raw.exactly(16) == b"+PONG\r\n$3\r\n1-1\r\n"
    assert journals.wire.of("wire_added") == [("1-1", 3, 0, "worker-1")]
    raw.shutdown(1)
    assert raw.rest() == b""


# --------------------------------------------------------------------------------------- ends of connections


def test_a_client_that_vanishes_while_it_waits_leaves_no_ghost(direct, wire, key):
    """Otherwise Redis would give the next message to nobody."""
    direct.xgroup_create(key, "g", mkstream=True)
    raw = Raw(wire.open("worker-1"))
    raw.sendall(said(["CLIENT", "SETNAME", key], ["XREADGROUP", "GROUP", "g", "c", "BLOCK", 0, "STREAMS", key, ">"]))
    wait_until("it waits in Redis", lambda: any(r["name"] == key and "b" in r["flags"] for r in direct.client_list()))
    raw.close()
    wait_until("Redis knows", lambda: not in_redis(direct, key), timeout=2)
    direct.xadd(key, {"job": 1})
    assert direct.xpending(key, "g")["pending"] == 0


def test_a_held_wire_keeps_the_news_back(direct, wire, key):
    raw = Raw(wire.open("worker-1"))
    raw.sendall(said(["CLIENT", "SETNAME", key]))
    raw.exactly(5)
    wire.impose("it", Held(direction="requests"))
    raw.close()
    with pytest.raises(AssertionError):
        wait_until("Redis knows", lambda: not in_redis(direct, key), timeout=0.2)
    wire.lift("it")
    wait_until("Redis knows", lambda: not in_redis(direct, key))


def test_a_server_that_dies_and_comes_back_elsewhere():
    with ExitStack() as stack:
        first = stack.enter_context(ProcessServer())
        here = [first.url]

        def upstream():
            if not here:
                raise ServerError("it is away")
            return here[0]

        wire = stack.enter_context(Wire(upstream))
        client = stack.enter_context(connect(wire.open("worker-1")))
        assert client.ping()
        first.kill()
        for away in (lambda: None, here.clear):
            away()
            with pytest.raises(ConnectionError):
                client.ping()
        second = stack.enter_context(ProcessServer())
        with second.client() as direct:  # it has the password of the first, as a restarted server would
            direct.config_set("requirepass", unquote(urlsplit(first.url).password))
        here.append(second.url)
        assert client.ping()
        assert client.info("server")["tcp_port"] == urlsplit(second.url).port


def test_closing_ends_everything(any_server):
    before = set(threading.enumerate())
    wire = Wire(lambda: any_server.url)
    url = wire.open("worker-1")
    wire.impose("it", Held())
    with Raw(url, sign_in=False) as raw:
        raw.sendall(said(["PING"]))
        wire.close()
        with pytest.raises(ConnectionResetError):
            raw.recv(1)
    wire.close()
    assert set(threading.enumerate()) == before
    with pytest.raises(ConnectionRefusedError):
        Raw(url)
    for call in (lambda: wire.open("worker-1"), lambda: wire.lift("it"), wire.reset):
        with pytest.raises(UsageError, match="closed"):
            call()
    gc.collect()


def test_a_journal_that_cannot_be_written_harms_nobody_and_is_told(any_server, direct, key):
    class Full:
        def write(self, kind, **more):
            raise OSError("no space left")

    wire = Wire(lambda: any_server.url, lambda process, incarnation: Full())
    with connect(wire.open("worker-1", foreign=True)) as client:
        for job in range(3):
            assert client.xadd(key, {"job": job})
    with pytest.raises(OSError, match="no space left"):
        wire.close()


# -------------------------------------------------------------------------------------------------- troubles


def test_late_bytes_come_in_order(wire, raw):
    wire.impose("it", late := Late(by=0.05, jitter=0.03))
    for number in range(10):
        time.sleep(0.005)  # apart, but closer than the jitter: each could overtake the one before
        last = time.monotonic()
        raw.sendall(said(["ECHO", number]))
    answers = raw.exactly(70)
    assert answers == b"".join(b"$1\r\n%d\r\n" % number for number in range(10))
    assert time.monotonic() - last > 2 * 0.02, "the least that they can be late, there and back"
    assert wire.lift("it") == late.hit == 10 * len(said(["ECHO", 1])) + 70


def test_a_delay_counts_both_ways_and_ends(wire, client):
    def took():
        started = time.monotonic()
        client.ping()
        return time.monotonic() - started

    wire.impose("it", Late(by=0.1))
    assert 0.2 <= min(took() for _ in range(3)) < 0.3
    wire.impose("it", Late(by=0.1, direction="replies"))
    assert 0.1 <= min(took() for _ in range(3)) < 0.2
    wire.lift("it")
    assert min(took() for _ in range(3)) < 0.1


def test_a_narrow_wire_takes_its_time(wire, client, key):
    client.set(key, value := "x" * 30_000)
    wire.impose("it", Narrow(rate=100_000, direction="replies"))
    started = time.monotonic()
    assert client.get(key) == value
    narrow = time.monotonic() - started
    assert narrow > 0.25
    assert wire.lift("it") == 8 + 30_000 + 2
    started = time.monotonic()
    assert client.get(key) == value
    assert time.monotonic() - started < narrow / 2


def test_held_requests_arrive_late_and_in_order(wire, raw, direct, key):
    wire.impose("it", held := Held(direction="requests"))
    for number in range(100):
        raw.sendall(said(["RPUSH", key, number]))
    wait_until("all of them are held", lambda: held.hit == sum(len(said(["RPUSH", key, n])) for n in range(100)))
    assert not direct.exists(key)
    assert raw.silent()
    wire.lift("it")
    assert raw.exactly(20) == b":1\r\n:2\r\n:3\r\n:4\r\n:5\r\n"
    wait_until("all have arrived", lambda: direct.llen(key) == 100)
    assert direct.lrange(key, 0, -1) == [str(number) for number in range(100)]


def test_held_replies_are_replies_to_what_was_done(wire, raw, direct, key):
    wire.impose("it", Held(direction="replies"))
    raw.sendall(said(["SET", key, 1]))
    wait_until("Redis has done it", lambda: direct.get(key) == "1")
    assert raw.silent()
    assert wire.lift("it") == len(OK)
    assert raw.exactly(5) == OK


def test_a_reset_ends_the_connections_of_those_meant(wire, direct, key):
    with Raw(wire.open("worker-1")) as one, Raw(wire.open("worker-2")) as two, Raw(wire.open("worker-1", 2)) as three:
        for each in (one, two, three):
            each.sendall(said(["CLIENT", "SETNAME", key]))
            each.exactly(5)
        assert wire.reset(["worker-1"]) == 2
        for each in (one, three):
            with pytest.raises(ConnectionResetError):
                each.recv(1)
        wait_until("Redis knows", lambda: in_redis(direct, key) == 1)
        two.sendall(said(["PING"]))
        assert two.exactly(7) == b"+PONG\r\n"
        assert wire.reset() == 1


def test_refused_connections_are_counted_and_others_stay(wire, raw, client):
    wire.impose("it", Refused(processes=["worker-1"]))
    with connect(wire.open("worker-1", 2)) as late, connect(wire.open("worker-2")) as other:
        for _ in range(2):
            with pytest.raises(ConnectionError):
                late.ping()
        assert other.ping()
        raw.sendall(said(["PING"]))
        assert raw.exactly(7) == b"+PONG\r\n"
        assert wire.lift("it") == 2
        assert late.ping()


def test_lost_requests_never_reach_redis(wire, raw, direct, key, journals):
    wire.impose("it", lost := Lost(direction="requests"))
    raw.sendall(request := said(["XADD", key, "*", "job", 1]))
    wait_until("it is lost", lambda: lost.hit == len(request))
    assert raw.silent()
    assert not direct.exists(key)
    assert wire.lift("it") == len(request)
    with pytest.raises(ConnectionResetError):
        raw.recv(1)
    assert "wire_added" not in journals.wire.kinds


def test_lost_replies_were_replies(wire, raw, client, direct, key, journals):
    wire.impose("it", lost := Lost(direction="replies", processes=["worker-1"]))
    with connect(wire.open("worker-2")) as other:
        raw.sendall(said(["XADD", key, "5-0", "job", 7]))
        wait_until("the reply is lost", lambda: lost.hit == 9)
        assert direct.xlen(key) == 1
        assert raw.silent()
        assert journals.wire.of("wire_added") == [("5-0", 7, 0, "worker-1")]
        assert other.ping()
        wire.lift("it")
        with pytest.raises(ConnectionResetError):
            raw.recv(1)
        assert other.ping()
    assert client.ping(), "of this one nothing was lost"


def test_troubles_add_up_and_end_one_by_one(wire, raw):
    wire.impose(1, first := Held(direction="replies"))
    wire.impose(2, second := Held())
    raw.sendall(said(["PING"]))
    wait_until("it is held by one", lambda: second.hit)
    wire.lift(1)
    assert raw.silent()
    assert first.hit == 0
    assert wire.lift(2) == len(said(["PING"]))
    assert raw.exactly(7) == b"+PONG\r\n"
    assert wire.lift(2) == 0, "it is over already"


def test_a_new_process_meets_what_goes_on(wire):
    wire.impose("it", Held(processes=["worker-1"]))
    with connect(wire.open("worker-1", 2), socket_timeout=0.1) as client, pytest.raises(TimeoutError):
        client.ping()


# ------------------------------------------------------------------------------------------------------ cuts


def test_the_nth_reply_is_cut_and_redis_has_done_it(wire, client, direct, key, journals):
    wire.impose("it", Cut(processes=["worker-1"], command="rpush", nth=2, times=2))
    client.rpush(key, 1)
    client.llen(key)
    for number in (2, 3):
        with pytest.raises(ConnectionError):
            client.rpush(key, number)
    client.rpush(key, 4)
    assert direct.lrange(key, 0, -1) == ["1", "2", "3", "4"]
    assert journals.wire.of("wire_cut") == [("", -1, 0, "worker-1 RPUSH")] * 2
    assert wire.lift("it") == 2


def test_in_a_pipeline_what_came_before_is_heard(wire, raw, direct, key):
    wire.impose("it", Cut(command="LLEN"))
    raw.sendall(said(["RPUSH", key, 1], ["RPUSH", key, 2], ["LLEN", key], ["RPUSH", key, 3]))
    assert raw.rest() == b":1\r\n:2\r\n"
    wait_until("the rest is done too", lambda: direct.llen(key) == 3)


def test_behind_a_cut_what_redis_has_answered_is_witnessed_and_counted(wire, raw, key, journals):
    wire.impose("it", cut := Cut(command="XADD", times=2))
    raw.sendall(said(["MULTI"], *(["XADD", key, f"{job}-1", "job", job] for job in (1, 2)), ["EXEC"]))
    assert raw.rest() == b"+OK\r\n+QUEUED\r\n+QUEUED\r\n"
    assert journals.wire.of("wire_added") == [("1-1", 1, 0, "worker-1"), ("2-1", 2, 0, "worker-1")]
    assert cut.hit == 2
    assert journals.wire.kinds[-2:] == ["wire_cut"] * 2


def test_a_long_reply_that_is_cut_is_not_heard_in_part(wire, raw, direct, key):
    direct.set(key, "x" * 3_000_000)
    wire.impose("it", Cut(command="GET"))
    raw.sendall(said(["PING"], ["GET", key]))
    assert raw.rest() == b"+PONG\r\n"


def test_a_cut_that_is_lifted_in_time_cuts_nothing(wire, raw, client, key):
    wire.impose("it", cut := Cut(command="BLPOP"))
    raw.sendall(said(["BLPOP", key, 0]))
    wait_until("it is counted", lambda: cut.met)
    assert wire.lift("it") == 0
    client.rpush(key, "a")
    raw.exactly(4)
    raw.sendall(said(["PING"]))
    assert raw.recv(1000)


@pytest.mark.parametrize("command", ["RPUSH", "EXEC"])
def test_within_a_transaction_the_reply_is_in_that_to_exec(wire, raw, direct, key, command, journals):
    wire.impose("it", Cut(command=command))
    raw.sendall(said(["MULTI"], ["RPUSH", key, 1], ["LLEN", key], ["EXEC"]))
    assert raw.rest() == b"+OK\r\n+QUEUED\r\n+QUEUED\r\n"
    assert direct.llen(key) == 1
    assert journals.wire.of("wire_cut") == [("", -1, 0, f"worker-1 {command}")]
    assert wire.lift("it") == 1
