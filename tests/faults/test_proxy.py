"""The proxy on a real server: what passes is unharmed, and ends of connections reach the other side."""

import random
import socket
import threading
from contextlib import ExitStack
from urllib.parse import unquote, urlsplit

import pytest
from redis.exceptions import ConnectionError

from streamlab.errors import ServerError, UsageError
from streamlab.faults.proxy import Proxy
from streamlab.faults.proxy.toxics import Hold
from streamlab.servers import ProcessServer, connect
from tests.faults.proxied import Raw, in_redis, said
from tests.waiting import wait_until


def test_ten_thousand_messages_pass_unharmed_wherever_their_bytes_are_cut(direct, logs, raw, key):
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
    stored = [(fields["job"], len(fields["blob"])) for _, fields in direct.xrange(key)]
    assert stored == [(str(job), job % 50) for job in range(count)]
    added = [(entry, job) for entry, job, *_ in logs.wire.of("wire_added")]
    assert added == [(f"1-{job + 1}", job) for job in range(count)]


def test_what_is_not_understood_passes_as_it_is(any_server, proxy, one, key):
    """The connection becomes a plain pipe, and the server gives its own answer; others are as they were."""
    for strange in (
        b"*1\r\n:1\r\n",
        b"*-7\r\n$$$\r\n",
        b"\x00\xff" * 40_000,
        b"*2\r\n$4\r\nPING\r\n!",
        b"ECHO inline\r\n\r\n*0\r\n*-1\r\n",
        said(["SUBSCRIBE", key], ["PING"], ["CLIENT", "REPLY", "SKIP"], ["UNSUBSCRIBE"]),
    ):
        answers = []
        for where in (any_server.url, proxy.listen("worker-1")):
            with Raw(where) as raw:
                raw.ask(["PING"], reply=b"+PONG\r\n")
                raw.sendall(strange + said(["QUIT"]))
                raw.shutdown(socket.SHUT_WR)  # the replies still come, and then the end
                answers.append(raw.upto(b"nothing more"))
        assert answers[0] == answers[1] != b""
    assert one.ping()


def test_a_client_that_vanishes_while_it_waits_leaves_no_ghost(direct, raw, key):
    """Otherwise Redis would give the next message to nobody."""
    direct.xgroup_create(key, "g", mkstream=True)
    raw.sendall(said(["CLIENT", "SETNAME", key], ["XREADGROUP", "GROUP", "g", "c", "BLOCK", 0, "STREAMS", key, ">"]))
    wait_until("it waits in Redis", lambda: any(r["name"] == key and "b" in r["flags"] for r in direct.client_list()))
    raw.close()
    wait_until("Redis knows", lambda: not in_redis(direct, key), timeout=2)
    direct.xadd(key, {"job": 1})
    assert direct.xpending(key, "g")["pending"] == 0


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


def test_an_event_log_that_cannot_be_written_harms_nobody_and_is_told(any_server, key):
    class Full:
        def write(self, kind, **more):
            raise OSError("no space left")

    proxy = Proxy(lambda: any_server.url, lambda process, incarnation: Full())
    with connect(proxy.listen("worker-1", custom=True)) as client:
        for job in range(3):
            assert client.xadd(key, {"job": job})
        client.delete(key)
    with pytest.raises(OSError, match="no space left"):
        proxy.close()
