"""The faults of the wire, each on a real server through a real proxy: effect, end, and what it says that it met."""

import secrets
import time
from types import SimpleNamespace

import pytest
from redis.exceptions import ConnectionError, TimeoutError

from streamlab.errors import UsageError
from streamlab.faults import CutReply, Delay, Drop, FaultSchedule, Hold, Refuse, Reset, Throttle
from streamlab.faults.proxy import Proxy
from streamlab.servers import connect
from tests.faults.proxied import Raw, said
from tests.faults.runs import striking
from tests.waiting import wait_until


@pytest.fixture
def context(any_server):
    with Proxy(lambda: any_server.url) as proxy:
        yield SimpleNamespace(proxy=proxy, workers=lambda: ["worker-1", "worker-2"], oldest=lambda: "worker-2")


@pytest.fixture
def one(context):
    with connect(context.proxy.listen("worker-1"), socket_timeout=0.4) as client:
        client.ping()
        yield client


@pytest.fixture
def two(context):
    with connect(context.proxy.listen("worker-2"), socket_timeout=0.4) as client:
        client.ping()
        yield client


@pytest.fixture
def key(any_server):
    with any_server.client() as client:
        yield (key := f"{any_server.prefix}{secrets.token_hex(4)}")
        client.unlink(key)


def took(client):
    """Seconds that a round trip takes; the best of three."""

    def once():
        started = time.monotonic()
        client.ping()
        return time.monotonic() - started

    return min(once() for _ in range(3))


def test_delay(context, one, two):
    with striking(Delay("worker-1", at=1, delay=0.1, jitter=0.05, seconds=5), context) as record:
        assert took(one) >= 0.1
        assert took(two) < 0.1
    assert record.hit == 3 * (len(said(["PING"])) + len("+PONG\r\n"))
    assert took(one) < 0.1
    assert "worker-1: bytes are 0.1 s late, give or take 0.05 s, both ways" in record.said


def test_the_same_seed_gives_the_same_jitter():
    def times(**more):
        late = Delay("worker-1", at=1, delay=0.1, jitter=0.1, seconds=1, **more).toxic(["worker-1"], 0)
        return [late.seconds() for _ in range(20)]

    assert times() == times() != times(seed=2)
    assert min(times()) < 0.1 < max(times()) < 0.2


def test_throttle(context, one, key):
    fault = Throttle("worker-1", at=1, bytes_per_second=100_000, seconds=5, direction="requests")
    with striking(fault, context) as record:
        started = time.monotonic()
        one.set(key, "x" * 20_000)
        assert time.monotonic() - started > 0.15
    assert record.hit > 20_000


def test_hold(context, any_server, key):
    """Redis gets it when it is over, and not before; the process still is connected."""
    with Raw(context.proxy.listen("worker-1")) as raw, any_server.client() as direct:
        with striking(Hold("worker-1", at=1, seconds=5), context) as record:
            raw.sendall(said(["SET", key, 1]))
            assert raw.silent()
            assert not direct.exists(key)
        assert record.hit == len(said(["SET", key, 1]))
        assert raw.exactly(5) == b"+OK\r\n"


@pytest.mark.parametrize(("direction", "done"), [("requests", None), ("replies", "1"), ("both", None)])
def test_drop(context, any_server, one, key, direction, done):
    with striking(Drop("worker-1", at=1, seconds=5, direction=direction), context) as record:
        with pytest.raises(TimeoutError):
            one.set(key, 1)
        with any_server.client() as direct:
            assert direct.get(key) == done
    assert record.hit > 0
    assert one.ping(), "by a new connection"


def test_reset(context, one, two):
    with Raw(context.proxy.listen("producer")) as producer:
        with striking(Reset("all", at=1), context) as record:
            assert record.hit == 2
        producer.sendall(said(["PING"]))
        assert producer.exactly(7) == b"+PONG\r\n", "all are all workers"
        with striking(Reset("producer", at=1), context) as record:
            assert record.hit == 1
        with pytest.raises(ConnectionResetError):
            producer.exactly(1)
    assert one.ping()


def test_refuse(context, one, two):
    with striking(Refuse("worker-1", at=1, seconds=5), context) as record:
        assert record.hit == 1, "the connection that there was"
        for _ in range(2):
            with pytest.raises(ConnectionError):
                one.ping()
        assert two.ping()
    assert record.hit == 3
    assert one.ping()


def test_cut_reply(context, any_server, one, two, key):
    with striking(CutReply("worker-1", at=1, command="rpush", nth=2), context) as record:
        two.rpush(key, "a")
        one.rpush(key, "b")
        with pytest.raises(ConnectionError):
            one.rpush(key, "c")
        one.rpush(key, "d")
    assert record.hit == 1
    assert one.lrange(key, 0, -1) == ["a", "b", "c", "d"]


def test_in_a_schedule_each_is_undone_on_its_own(context, one, key):
    """Two of one kind on one target: the end of the first is not the end of the second."""
    notes = []
    log = SimpleNamespace(write=lambda kind, *, note="", time_ns=None: notes.append((kind, note)))
    holds = [Hold("worker-1", at=0, seconds=1), Hold("one", at=0, seconds=2), Hold("oldest", at=0, seconds=2)]
    schedule = FaultSchedule(holds, context, log)
    schedule.step(0)
    schedule.step(1.5)
    assert [kind for kind, _ in notes] == ["fault_on"] * 3 + ["fault_off"]
    names = [strike.record.target for strike in schedule.running]
    assert names[1] == "worker-2"
    if names[0] == "worker-1":
        with pytest.raises(TimeoutError):
            one.ping()
    schedule.heal()
    assert one.ping()
    assert all('"hit":' in note for kind, note in notes if kind == "fault_off")


def test_without_a_proxy_it_is_refused_and_where_nobody_holds_anything_nobody_is_hit(context, one):
    with pytest.raises(UsageError, match="no proxy"), striking(Reset("worker-1", at=1), SimpleNamespace(proxy=None)):
        pass
    for fault in (Reset("", at=1), Refuse("", at=1, seconds=1), Hold("", at=1, seconds=1)):
        with striking(fault, context) as record:
            pass
        assert record.hit == 0
        assert "nobody" in record.said
    wait_until("it is served as before", one.ping)
