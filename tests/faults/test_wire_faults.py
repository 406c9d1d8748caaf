"""The faults of the wire, each on a real server through a real proxy: effect, end, and what it says that it met."""

import dataclasses
import secrets
import time
from types import SimpleNamespace

import pytest
from redis.exceptions import ConnectionError, TimeoutError

from streamlab.errors import UsageError
from streamlab.faults.base import from_table
from streamlab.faults.plan import Plan
from streamlab.faults.proxy import Proxy
from streamlab.faults.wire import CutReply, Delay, Drop, Hold, Refuse, Reset, Throttle
from streamlab.servers import connect
from tests.faults.proxied import Raw, said
from tests.waiting import wait_until

KINDS = {kind.kind: kind for kind in (CutReply, Delay, Drop, Hold, Refuse, Reset, Throttle)}


@pytest.fixture
def stage(any_server):
    with Proxy(lambda: any_server.url) as proxy:
        yield SimpleNamespace(proxy=proxy, workers=lambda: ["worker-1", "worker-2"], oldest=lambda: "worker-2")


@pytest.fixture
def one(stage):
    with connect(stage.proxy.listen("worker-1"), socket_timeout=0.4) as client:
        client.ping()
        yield client


@pytest.fixture
def two(stage):
    with connect(stage.proxy.listen("worker-2"), socket_timeout=0.4) as client:
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


def test_delay(stage, one, two):
    fault = Delay("worker-1", at=1, delay=0.1, jitter=0.05, seconds=5)
    assert fault.start(stage) == {"processes": ["worker-1"]}
    assert took(one) >= 0.1
    assert took(two) < 0.1
    assert fault.stop(stage)["hit"] == 3 * (len(said(["PING"])) + len("+PONG\r\n"))
    assert took(one) < 0.1
    assert fault.ends_after() == 5


def test_the_same_seed_gives_the_same_jitter():
    def times(**more):
        toxic = Delay("worker-1", at=1, delay=0.1, jitter=0.1, seconds=1, **more)._toxic(["worker-1"])
        return [toxic.seconds() for _ in range(20)]

    assert times() == times() != times(seed=2)
    assert min(times()) < 0.1 < max(times()) < 0.2


def test_throttle(stage, one, key):
    fault = Throttle("worker-1", at=1, bytes_per_second=100_000, seconds=5, direction="requests")
    fault.start(stage)
    started = time.monotonic()
    one.set(key, "x" * 20_000)
    assert time.monotonic() - started > 0.15
    assert fault.stop(stage)["hit"] > 20_000


def test_hold(stage, any_server, key):
    """Redis gets it when it is over, and not before; the process still is connected."""
    fault = Hold("worker-1", at=1, seconds=5)
    with Raw(stage.proxy.listen("worker-1")) as raw, any_server.client() as direct:
        fault.start(stage)
        raw.sendall(said(["SET", key, 1]))
        assert raw.silent()
        assert not direct.exists(key)
        assert fault.stop(stage)["hit"] == len(said(["SET", key, 1]))
        assert raw.exactly(5) == b"+OK\r\n"


@pytest.mark.parametrize(("direction", "done"), [("requests", None), ("replies", "1"), ("both", None)])
def test_drop(stage, any_server, one, key, direction, done):
    fault = Drop("worker-1", at=1, seconds=5, direction=direction)
    fault.start(stage)
    with pytest.raises(TimeoutError):
        one.set(key, 1)
    with any_server.client() as direct:
        assert direct.get(key) == done
    assert fault.stop(stage)["hit"] > 0
    assert one.ping(), "by a new connection"


def test_reset(stage, one, two):
    fault = Reset("all", at=1)
    with Raw(stage.proxy.listen("producer")) as producer:
        assert fault.start(stage) == {"processes": ["worker-1", "worker-2"], "hit": 2}
        assert fault.stop(stage) == {}
        assert fault.ends_after() == 0
        producer.sendall(said(["PING"]))
        assert producer.exactly(7) == b"+PONG\r\n", "all are all workers"
        assert Reset("producer", at=1).start(stage)["hit"] == 1
        with pytest.raises(ConnectionResetError):
            producer.exactly(1)
    assert one.ping()


def test_refuse(stage, one, two):
    fault = Refuse("worker-1", at=1, seconds=5)
    assert fault.start(stage)["hit"] == 1, "the connection that there was"
    for _ in range(2):
        with pytest.raises(ConnectionError):
            one.ping()
    assert two.ping()
    assert fault.stop(stage)["hit"] == 3
    assert one.ping()


def test_cut_reply(stage, any_server, one, two, key):
    fault = CutReply("worker-1", at=1, command="rpush", nth=2)
    fault.start(stage)
    two.rpush(key, "a")
    one.rpush(key, "b")
    with pytest.raises(ConnectionError):
        one.rpush(key, "c")
    one.rpush(key, "d")
    assert fault.stop(stage) == {"hit": 1}
    assert one.lrange(key, 0, -1) == ["a", "b", "c", "d"]


def test_in_a_plan_each_is_undone_on_its_own(stage, one, key):
    """Two of one kind on one target: the end of the first is not the end of the second."""
    notes = []
    journal = SimpleNamespace(write=lambda kind, *, note="", time_ns=None: notes.append((kind, note)))
    holds = [Hold("worker-1", at=0, seconds=1), Hold("one", at=0, seconds=2), Hold("oldest", at=0, seconds=2)]
    plan = Plan(holds, stage, journal)
    plan.step(0)
    plan.step(1.5)
    assert [kind for kind, _ in notes] == ["fault_on"] * 3 + ["fault_off"]
    names = [fault.target for fault in plan.running]
    assert names[1] == "worker-2"
    if names[0] == "worker-1":
        with pytest.raises(TimeoutError):
            one.ping()
    plan.heal()
    assert one.ping()
    assert all('"hit": ' in note for kind, note in notes if kind == "fault_off")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Delay("worker-1", at=1, delay=0, seconds=1),
        lambda: Delay("worker-1", at=1, delay=0.1, jitter=0.2, seconds=1),
        lambda: Delay("worker-1", at=1, delay=0.1, jitter=-0.2, seconds=1),
        lambda: Delay("worker-1", at=1, delay=0.1, seconds=float("inf")),
        lambda: Hold("worker-1", at=1, seconds=0),
        lambda: Hold("worker-1", at=1, seconds=1, direction="left"),
        lambda: Drop("worker-1", at=-1, seconds=1),
        lambda: Throttle("worker-1", at=1, bytes_per_second=-5, seconds=1),
        lambda: Throttle("worker-1", at=1, bytes_per_second=True, seconds=1),
        lambda: Refuse("worker-1", at=1, seconds=-1),
        lambda: Reset("worker-1", at=float("nan")),
        lambda: CutReply("worker-1", at=1, command=""),
        lambda: CutReply("worker-1", at=1, command="XACK s g"),
        lambda: CutReply("worker-1", at=1, command="XACK", nth=0),
        lambda: CutReply("worker-1", at=1, command="XACK", times=1.5),
        lambda: CutReply("worker-1", at=1, command="XACK", seconds=0),
    ],
)
def test_settings_that_cannot_be_meant(make):
    with pytest.raises(UsageError, match=r"^fault '[a-z-]+': [a-z_]+=[^\n]+$"):
        make()


@pytest.mark.parametrize("target", ["worker-9", "", "redis"])
def test_a_target_that_is_not_there(stage, target):
    with pytest.raises(UsageError, match="worker-1, worker-2, producer"):
        Hold(target, at=1, seconds=1).check(stage)
    for good in ("worker-1", "producer", "one", "all", "oldest"):
        Hold(good, at=1, seconds=1).check(stage)


def test_without_a_proxy():
    with pytest.raises(UsageError, match="no proxy"):
        Reset("worker-1", at=1).start(SimpleNamespace(proxy=None, workers=lambda: ["worker-1"]))


@pytest.mark.parametrize(
    "fault",
    [
        Delay("worker-1", at=1, delay=0.1, jitter=0.05, seconds=1, direction="replies", seed=4),
        Throttle("all", at=1, bytes_per_second=5, seconds=1),
        Hold("one", at=1, seconds=1),
        Drop("producer", at=1, seconds=1, direction="requests"),
        Reset("oldest", at=1),
        Refuse("all", at=1, seconds=1),
        CutReply("worker-1", at=1, command="XACK", nth=3, times=2, seconds=2),
    ],
)
def test_as_data_and_in_words(fault):
    assert from_table(fault.table(), KINDS) == fault
    assert fault.family == "wire"
    assert fault.needs_wire
    assert fault.target in fault.said({"target": fault.target, "hit": 2})
    assert dataclasses.replace(fault, at=2.0) != fault


def test_nobody_is_hit_where_nobody_holds_anything(stage, one):
    for fault in (Reset("", at=1), Refuse("", at=1, seconds=1), Hold("", at=1, seconds=1)):
        facts = fault.start(stage) | {"target": ""}
        assert fault.stop(stage).get("hit", 0) == 0
        assert facts["processes"] == []
        assert "nobody" in fault.said(facts)
    wait_until("it is served as before", one.ping)
