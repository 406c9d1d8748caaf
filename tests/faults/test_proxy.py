"""The proxy on a real server: what passes is unharmed, and each toxic has its effect and its end."""

import gc
import random
import secrets
import socket
import threading
import time
from contextlib import ExitStack
from urllib.parse import unquote, urlsplit

import pytest
from redis.exceptions import ConnectionError, TimeoutError

from streamlab.errors import ServerError, UsageError
from streamlab.faults.proxy import Proxy
from streamlab.faults.proxy.toxics import Bandwidth, CutReply, Drop, Hold, Latency, Refuse
from streamlab.servers import ProcessServer, connect
from tests.faults.proxied import Logs, Raw, in_redis, said
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
def logs():
    return Logs()


@pytest.fixture
def proxy(any_server, logs):
    with Proxy(lambda: any_server.url, logs) as proxy:
        yield proxy


@pytest.fixture
def client(proxy):
    with connect(proxy.listen("worker-1")) as client:
        client.ping()
        yield client


@pytest.fixture
def raw(proxy):
    with Raw(proxy.listen("worker-1")) as raw:
        yield raw


# ------------------------------------------------------------------------------------------------- what passes


def test_ten_thousand_messages_pass_unharmed_wherever_their_bytes_are_cut(direct, proxy, logs, raw, key):
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
    assert [(entry, job) for entry, job, *_ in logs.wire.of("wire_added")] == [
        (f"1-{job + 1}", job) for job in range(count)
    ]


def test_a_long_reply_waits_for_its_reader_and_not_in_our_memory(proxy, raw, direct, key):
    """While it is held, Redis's socket is not read any further; then all of it arrives."""
    value = random.Random(7).randbytes(20 << 20)
    direct.set(key, value)
    held = Hold(direction="replies")
    proxy.add("it", held)
    raw.sendall(said(["GET", key]))
    wait_until("some of it is held", lambda: held.hit)
    wait_until(
        "no more is taken", lambda before=[-1]: before[0] == held.hit or before.__setitem__(0, held.hit), every=0.1
    )
    assert held.hit < 2 << 20
    proxy.remove("it")
    assert raw.exactly(11 + len(value) + 2)[11:-2] == value


@pytest.mark.parametrize(
    "garbage", [b"*1\r\n:1\r\n", b"*-7\r\n$$$\r\n", b"\x00\xff" * 40_000, b"*2\r\n$4\r\nPING\r\n!"]
)
def test_garbage_gets_the_servers_own_answer(any_server, proxy, garbage):
    """The connection becomes a plain pipe; others are as they were."""
    url = proxy.listen("worker-1")
    answers = []
    for where in (any_server.url, url):
        with Raw(where) as raw:
            raw.sendall(said(["PING"]) + garbage + b"\r\n\r\n")
            answers.append(raw.exactly(7) + b" " + raw.recv(20)[:20])
    assert answers[0] == answers[1]
    with connect(url) as client:
        assert client.ping()


def test_what_is_not_understood_passes(proxy, raw, client, key):
    raw.sendall(said(["SUBSCRIBE", key, key + "2"], ["PING"]))
    wait_until("it is subscribed", lambda: client.publish(key, "hello"))
    raw.sendall(said(["CLIENT", "REPLY", "SKIP"], ["UNSUBSCRIBE"], ["ECHO", "end"]))
    raw.settimeout(2)
    data = b""
    while not data.endswith(b"$3\r\nend\r\n"):
        data += raw.recv(1000)
    assert b"hello" in data


def test_inline_commands_and_half_a_connection(raw, key, logs):
    """As from `printf 'PING\\r\\n' | nc`: the replies still come, and then the end."""
    raw.sendall(b"PING\r\n\r\n*0\r\n" + f"XADD {key} 1-1 job 3\n".encode())
    raw.shutdown(socket.SHUT_WR)
    assert raw.rest() == b"+PONG\r\n$3\r\n1-1\r\n"
    assert logs.wire.of("wire_added") == [("1-1", 3, 0, "worker-1")]


# --------------------------------------------------------------------------------------- ends of connections


def test_a_client_that_vanishes_while_it_waits_leaves_no_ghost(direct, proxy, key):
    """Otherwise Redis would give the next message to nobody."""
    direct.xgroup_create(key, "g", mkstream=True)
    raw = Raw(proxy.listen("worker-1"))
    raw.sendall(said(["CLIENT", "SETNAME", key], ["XREADGROUP", "GROUP", "g", "c", "BLOCK", 0, "STREAMS", key, ">"]))
    wait_until("it waits in Redis", lambda: any(r["name"] == key and "b" in r["flags"] for r in direct.client_list()))
    raw.close()
    wait_until("Redis knows", lambda: not in_redis(direct, key), timeout=2)
    direct.xadd(key, {"job": 1})
    assert direct.xpending(key, "g")["pending"] == 0


def test_hold_and_drop_keep_the_news_back(direct, proxy, key):
    for toxic in (Hold(direction="requests"), Drop(direction="requests")):
        raw = Raw(proxy.listen("worker-1"))
        raw.sendall(said(["CLIENT", "SETNAME", key]))
        raw.exactly(5)
        proxy.add("it", toxic)
        raw.close()
        with pytest.raises(AssertionError):
            wait_until("Redis knows", lambda: not in_redis(direct, key), timeout=0.2)
        proxy.remove("it")
        wait_until("Redis knows", lambda: not in_redis(direct, key))


def test_a_server_that_dies_and_comes_back_elsewhere():
    with ExitStack() as stack:
        first = stack.enter_context(ProcessServer())
        here = [first.url]

        def upstream():
            if not here:
                raise ServerError("it is away")
            return here[0]

        proxy = stack.enter_context(Proxy(upstream))
        client = stack.enter_context(connect(proxy.listen("worker-1")))
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
    proxy = Proxy(lambda: any_server.url)
    url = proxy.listen("worker-1")
    proxy.add("it", Hold())
    with Raw(url, sign_in=False) as raw:
        raw.sendall(said(["PING"]))
        proxy.close()
        with pytest.raises(ConnectionResetError):
            raw.recv(1)
    proxy.close()
    assert set(threading.enumerate()) == before
    with pytest.raises(ConnectionRefusedError):
        Raw(url)
    for call in (lambda: proxy.listen("worker-1"), lambda: proxy.remove("it"), proxy.reset):
        with pytest.raises(UsageError, match="closed"):
            call()
    gc.collect()


def test_a_journal_that_cannot_be_written_harms_nobody_and_is_told(any_server, direct, key):
    class Full:
        def write(self, kind, **more):
            raise OSError("no space left")

    proxy = Proxy(lambda: any_server.url, lambda process, incarnation: Full())
    with connect(proxy.listen("worker-1", custom=True)) as client:
        for job in range(3):
            assert client.xadd(key, {"job": job})
    with pytest.raises(OSError, match="no space left"):
        proxy.close()


# -------------------------------------------------------------------------------------------------- toxics


def test_late_bytes_come_in_order(proxy, raw):
    for direction, least in (("both", 2 * 0.04), ("replies", 0.04)):
        proxy.add("it", late := Latency(latency=0.05, jitter=0.01, direction=direction))
        for number in range(10):
            time.sleep(0.005)  # apart, but closer than the jitter: each could overtake the one before
            last = time.monotonic()
            raw.sendall(said(["ECHO", number]))
        assert raw.exactly(70) == b"".join(b"$1\r\n%d\r\n" % number for number in range(10))
        assert time.monotonic() - last > least, "the least that they can be late"
        assert proxy.remove("it") == late.hit == 70 + (10 * len(said(["ECHO", 1])) if direction == "both" else 0)
    raw.sendall(said(["PING"]))
    assert raw.exactly(7) == b"+PONG\r\n"
    assert late.hit == 70, "it is over"


def test_a_narrow_wire_takes_its_time(proxy, client, key):
    client.set(key, value := "x" * 30_000)
    proxy.add("it", Bandwidth(rate=100_000, direction="replies"))
    started = time.monotonic()
    assert client.get(key) == value
    narrow = time.monotonic() - started
    assert narrow > 0.25
    assert proxy.remove("it") == 8 + 30_000 + 2
    started = time.monotonic()
    assert client.get(key) == value
    assert time.monotonic() - started < narrow / 2


def test_held_bytes_arrive_late_and_in_order(proxy, raw, direct, key):
    requests = [said(["RPUSH", key, number]) for number in range(100)]
    replies = b"".join(b":%d\r\n" % (number + 1) for number in range(100))
    for direction, size in (("requests", len(b"".join(requests))), ("replies", len(replies))):
        direct.delete(key)
        proxy.add("it", held := Hold(direction=direction))
        for request in requests:
            raw.sendall(request)
        wait_until("all of them are held", lambda held=held, size=size: held.hit == size)
        assert direct.llen(key) == (0 if direction == "requests" else 100)
        assert raw.silent()
        assert proxy.remove("it") == size
        assert raw.exactly(len(replies)) == replies
    assert direct.lrange(key, 0, -1) == [str(number) for number in range(100)]


def test_a_reset_ends_the_connections_of_those_meant(proxy, direct, key):
    with (
        Raw(proxy.listen("worker-1")) as one,
        Raw(proxy.listen("worker-2")) as two,
        Raw(proxy.listen("worker-1", 2)) as three,
    ):
        for each in (one, two, three):
            each.sendall(said(["CLIENT", "SETNAME", key]))
            each.exactly(5)
        assert proxy.reset(["worker-1"]) == 2
        for each in (one, three):
            with pytest.raises(ConnectionResetError):
                each.recv(1)
        wait_until("Redis knows", lambda: in_redis(direct, key) == 1)
        two.sendall(said(["PING"]))
        assert two.exactly(7) == b"+PONG\r\n"
        assert proxy.reset() == 1


def test_refused_connections_are_counted_and_others_stay(proxy, raw, client):
    proxy.add("it", Refuse(processes=["worker-1"]))
    with connect(proxy.listen("worker-1", 2)) as late, connect(proxy.listen("worker-2")) as other:
        for _ in range(2):
            with pytest.raises(ConnectionError):
                late.ping()
        assert other.ping()
        raw.sendall(said(["PING"]))
        assert raw.exactly(7) == b"+PONG\r\n"
        assert proxy.remove("it") == 2
        assert late.ping()


def test_dropped_requests_never_reach_redis_and_dropped_replies_were_replies(proxy, raw, client, direct, key, logs):
    request = said(["XADD", key, "5-0", "job", 7])
    with connect(proxy.listen("worker-2")) as other, Raw(proxy.listen("worker-1")) as second:
        for direction, it, size in (("requests", raw, len(request)), ("replies", second, 9)):
            proxy.add("it", drop := Drop(direction=direction, processes=["worker-1"]))
            it.sendall(request)
            wait_until("it is lost", lambda drop=drop, size=size: drop.hit == size)
            assert it.silent()
            assert direct.exists(key) == (direction == "replies")
            assert other.ping()
            assert proxy.remove("it") == size
            with pytest.raises(ConnectionResetError):
                it.recv(1)
            assert other.ping()
    assert client.ping(), "of this one nothing was lost"
    assert logs.wire.of("wire_added") == [("5-0", 7, 0, "worker-1")]


def test_toxics_add_up_and_end_one_by_one(proxy, raw):
    proxy.add(1, first := Hold(direction="replies"))
    proxy.add(2, second := Hold())
    raw.sendall(said(["PING"]))
    wait_until("it is held by one", lambda: second.hit)
    proxy.remove(1)
    assert raw.silent()
    assert first.hit == 0
    assert proxy.remove(2) == len(said(["PING"]))
    assert raw.exactly(7) == b"+PONG\r\n"
    assert proxy.remove(2) == 0, "it is over already"
    proxy.add("it", Hold(processes=["worker-1"]))
    with connect(proxy.listen("worker-1", 2), socket_timeout=0.1) as late, pytest.raises(TimeoutError):
        late.ping()


# ------------------------------------------------------------------------------------------------------ cuts


def test_the_nth_reply_is_cut_and_redis_has_done_it(proxy, client, direct, key, logs):
    proxy.add("it", CutReply(processes=["worker-1"], command="rpush", nth=2, times=2))
    client.rpush(key, 1)
    client.llen(key)
    for number in (2, 3):
        with pytest.raises(ConnectionError):
            client.rpush(key, number)
    client.rpush(key, 4)
    assert direct.lrange(key, 0, -1) == ["1", "2", "3", "4"]
    assert logs.wire.of("wire_cut") == [("", -1, 0, "worker-1 RPUSH")] * 2
    assert proxy.remove("it") == 2


def test_a_cut_that_is_lifted_in_time_cuts_nothing(proxy, raw, client, key):
    proxy.add("it", cut := CutReply(command="BLPOP"))
    raw.sendall(said(["BLPOP", key, 0]))
    wait_until("it is counted", lambda: cut.met)
    assert proxy.remove("it") == 0
    client.rpush(key, "a")
    raw.exactly(4)
    raw.sendall(said(["PING"]))
    assert raw.recv(1000)


def test_of_a_pipeline_passes_what_came_before_the_cut(proxy, direct, key, logs):
    """Within a transaction the reply is in that to EXEC. What Redis has answered is recorded, heard or not."""
    direct.set(key + "long", "x" * 3_000_000)
    transaction = [["MULTI"], ["RPUSH", key, 1], ["XADD", key + "s", "1-1", "job", 1], ["EXEC"], ["XLEN", key + "s"]]
    queued = b"+OK\r\n+QUEUED\r\n+QUEUED\r\n"
    for command, commands, passed in (
        ("LLEN", [["RPUSH", key, 1], ["LLEN", key], ["RPUSH", key, 3]], b":1\r\n"),
        ("GET", [["PING"], ["GET", key + "long"]], b"+PONG\r\n"),
        ("RPUSH", transaction, queued),
        ("EXEC", [["DEL", key + "s"], *transaction], b":1\r\n" + queued),
    ):
        proxy.add("it", CutReply(command=command))
        with Raw(proxy.listen("worker-1")) as raw:
            raw.sendall(said(*commands))
            assert raw.rest() == passed
        assert proxy.remove("it") == 1
        assert logs.wire.of("wire_cut")[-1:] == [("", -1, 0, f"worker-1 {command}")]
    assert direct.llen(key) == 4
    assert logs.wire.of("wire_added") == [("1-1", 1, 0, "worker-1")] * 2
