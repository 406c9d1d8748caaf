"""What the tap records: on a real server, in both protocols, as redis-py and as a raw socket speak."""

import pytest
from redis.exceptions import ConnectionError, ResponseError

from streamlab.faults.proxy import Proxy, tap
from streamlab.faults.proxy.tap import Process, Tap
from streamlab.faults.proxy.toxics import CutReply, Hold
from streamlab.servers import connect
from tests.faults.proxied import Log, Raw, said
from tests.waiting import wait_until

GROUP = "g"


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def worker(request, proxy, direct, key):
    """A custom worker: what it knows is written in its name."""
    direct.xgroup_create(key, GROUP, mkstream=True)
    with connect(proxy.listen("worker-2", 3, custom=True), protocol=request.param) as worker:
        yield worker


@pytest.fixture
def its(logs, worker):
    return logs["worker-2", 3]


def test_a_message_from_its_adding_to_its_end(any_server, worker, its, proxy, direct, key, logs):
    with connect(proxy.listen("producer")) as producer:
        one = producer.xadd(key, {"job": 4, "x": "y"}, maxlen=1000, approximate=True, limit=10)
        two = producer.xadd(key, {"x": "y", "job": 5}, nomkstream=True)
        three = producer.xadd(key, {"x": "y"})
    assert worker.xreadgroup(GROUP, "c", {key: ">"}, count=10)
    assert worker.xreadgroup(GROUP, "c", {key: "0"}, count=1)
    assert worker.xack(key, GROUP, one, two) == 2
    assert worker.xack(key, GROUP, one) == 0
    assert logs.wire.all == [
        ("wire_added", one, 4, 0, "producer"),
        ("wire_added", two, 5, 0, "producer"),
        ("wire_added", three, -1, 0, "producer"),
        ("wire_delivered", one, 4, 1, "worker-2"),
        ("wire_delivered", two, 5, 1, "worker-2"),
        ("wire_delivered", three, -1, 1, "worker-2"),
        ("wire_delivered", one, 4, 0, "worker-2 own"),
        ("wire_acked", one, 4, 0, "worker-2"),
        ("wire_acked", two, 5, 0, "worker-2"),
    ]
    assert its.all == [
        ("read", one, 4, 1, ""),
        ("read", two, 5, 1, ""),
        ("read", three, -1, 1, ""),
        ("own", one, 4, 0, ""),
        ("acked", one, 4, 0, ""),
        ("acked", two, 5, 0, ""),
    ]
    assert set(logs) == {("wire", 1), ("worker-2", 3)}, "the producer keeps its own"
    if "ackdel" in any_server.features:  # says it of each
        assert worker.xackdel(key, GROUP, one, three) == [-1, 1]
        assert its.all[6:] == [("acked", three, -1, 0, "")]


def test_claims_and_heartbeats(worker, its, direct, key, logs):
    entries = [direct.xadd(key, {"job": job}) for job in range(4)]
    worker.xreadgroup(GROUP, "a", {key: ">"})
    its.all.clear()
    assert worker.xclaim(key, GROUP, "a", 0, entries[:2], justid=True) == entries[:2]
    assert its.all == [], "a heartbeat is no claim"
    assert worker.xclaim(key, GROUP, "b", 0, entries[:1], justid=True)
    assert worker.xclaim(key, GROUP, "b", 0, entries[1:2])
    direct.xdel(key, entries[2])
    worker.xautoclaim(key, GROUP, "b", 0, justid=False)
    deleted = [("deleted", entries[2], 2, 0, "")]
    claims = [("claimed", entries[job], job, 0, "") for job in (0, 1, 0, 1, 3)]
    assert its.all == claims + deleted
    assert logs.wire.of("wire_claimed") == [(*event[1:4], "worker-2") for event in claims]
    its.all.clear()
    worker.xautoclaim(key, GROUP, "b", 0, justid=True)
    worker.xautoclaim(key, GROUP, "c", 0, count=1, justid=True)
    assert its.all == [claims[0]]
    direct.xdel(key, entries[0])
    worker.xreadgroup(GROUP, "c", {key: "0"})
    assert its.all[1:] == [("deleted", entries[0], 0, 0, "")]


def test_pipelines_and_transactions(worker, its, key, logs):
    """What was queued is answered by EXEC, all at once."""
    with worker.pipeline(transaction=True) as pipeline:
        entries = pipeline.xadd(key, {"job": 1}).xadd(key, {"job": 2}).xlen(key).execute()[:2]
    with worker.pipeline(transaction=False) as pipeline:
        pipeline.xreadgroup(GROUP, "c", {key: ">"}).incr(key + "n").xack(key, GROUP, *entries).execute()
    with worker.pipeline(transaction=True) as pipeline:
        pipeline.xadd(key, {"job": 3}).incr(key)
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            pipeline.execute()
    assert logs.wire.kinds == ["wire_added"] * 2 + ["wire_delivered"] * 2 + ["wire_acked"] * 2 + [
        "wire_added",
        "wire_error",
    ]
    assert logs.wire.of("wire_error") == [("", -1, 0, "worker-2 INCRBY WRONGTYPE")]
    assert its.kinds == ["read", "read", "acked", "acked"]


def test_a_transaction_given_up_did_nothing(proxy, direct, key, logs):
    with Raw(proxy.listen("worker-1")) as raw:
        raw.sendall(said(["MULTI"], ["XADD", key, "*", "job", 1], ["DISCARD"], ["XADD", key, "7-1", "job", 2]))
        raw.sendall(said(["MULTI"], ["XADD", key], ["XADD", key, "*", "job", 3], ["EXEC"], ["PING"]))
        assert b"$3\r\n7-1\r\n" in raw.upto(b"+PONG\r\n")
    assert logs.wire.of("wire_added") == [("7-1", 2, 0, "worker-1")]
    assert [note for *_, note in logs.wire.of("wire_error")] == ["worker-1 XADD ERR", "worker-1 EXEC EXECABORT"]


def test_rather_nothing_than_the_reply_to_another_request(proxy, direct, key, logs):
    """A push message is no reply. Behind a riddle nobody knows which reply answers what."""
    for riddle in (["SUBSCRIBE", "streamlab:nothing"], ["CLIENT", "REPLY", "SKIP"], ["CLIENT", "REPLY", "OFF"]):
        direct.delete(key, key + "x")
        logs.wire.all.clear()
        with Raw(proxy.listen("worker-1")) as raw:
            raw.sendall(said(["HELLO", 3], ["CLIENT", "TRACKING", "ON"], ["GET", key + "x"]))
            raw.upto(b"_\r\n")
            direct.set(key + "x", 1)
            adds = [["XADD", key, f"{number}-1", "job", number] for number in range(1, 5)]
            raw.sendall(said(adds[0], riddle, adds[1], adds[2], ["CLIENT", "REPLY", "ON"], adds[3]))
            assert b">2\r\n$10\r\ninvalidate" in raw.upto(b"$3\r\n4-1\r\n")
        assert direct.xlen(key) == 4
        assert logs.wire.of("wire_added") == [("1-1", 1, 0, "worker-1")]


def test_errors_name_the_command_and_nothing_that_is_secret(proxy, key, logs):
    with connect(proxy.listen("worker-1")) as client, pytest.raises(ResponseError):
        client.xreadgroup(GROUP, "c", {key: ">"})
    with Raw(proxy.listen("worker-2"), sign_in=False) as raw:
        raw.sendall(said(["AUTH", "open sesame"]))
        raw.recv(100)
    notes = [note for *_, note in logs.wire.of("wire_error")]
    assert notes[0] == "worker-1 XREADGROUP NOGROUP"
    assert "sesame" not in str(logs.wire.all)


def test_other_streams_are_not_our_business(any_server, direct, key, logs):
    direct.xgroup_create(key, GROUP, mkstream=True)
    direct.xgroup_create(key + "2", GROUP, mkstream=True)
    with (
        Proxy(lambda: any_server.url, logs, stream=key) as proxy,
        connect(proxy.listen("worker-2", custom=True)) as worker,
    ):
        entry = worker.xadd(key + "2", {"job": 1})
        worker.xadd(key, {"job": 2})
        assert worker.xreadgroup(GROUP, "c", {key + "2": ">", key: ">"})
        worker.xack(key + "2", GROUP, entry)
    assert [(kind, job) for kind, _, job, *_ in logs.wire.all] == [("wire_added", 2), ("wire_delivered", 2)]


def test_a_worker_knows_when_the_bytes_reach_it(worker, its, direct, proxy, key, logs):
    """What Redis did is written at once. A reply that is held is known late; one that is cut, never."""
    direct.xadd(key, {"job": 1})
    proxy.add("it", Hold(direction="replies"))
    with Raw(proxy.listen("worker-2", 3, custom=True), sign_in=False) as raw:
        raw.sendall(said(["AUTH", direct.connection_pool.connection_kwargs["password"]]))
        raw.sendall(said(["XREADGROUP", "GROUP", GROUP, "c", "STREAMS", key, ">"]))
        wait_until("Redis has answered", lambda: logs.wire.kinds == ["wire_delivered"])
        assert its.all == []
        proxy.remove("it")
        wait_until("it arrives", lambda: its.kinds == ["read"])
    proxy.add("it", CutReply(command="XACK"))
    ((entry, *_),) = logs.wire.of("wire_delivered")
    direct.xadd(key, {"job": 2})
    with worker.pipeline(transaction=False) as pipeline, pytest.raises(ConnectionError):
        pipeline.xreadgroup(GROUP, "c", {key: ">"}).xack(key, GROUP, entry).execute()
    assert logs.wire.kinds == ["wire_delivered", "wire_delivered", "wire_acked", "wire_cut"]
    wait_until("what came before the cut is known", lambda: its.kinds == ["read", "read"])


# ------------------------------------------------------------------------------- without a server: the doubtful


@pytest.fixture
def log():
    return Log()


def xack(it, entries, reply):
    it.answered(Process("w"), b"XACK", [b"XACK", b"s", b"g", *entries], reply)


def test_an_xack_of_several_that_counts_fewer(log):
    """Those that are known to be out of the PEL explain it, or nobody can say which."""
    it = Tap(log)
    xack(it, [b"1-0", b"2-0"], 2)
    xack(it, [b"1-0", b"3-0"], 1)
    xack(it, [b"4-0", b"4-0", b"5"], 2)
    xack(it, [b"6-0", b"7-0"], 1)
    it.answered(Process("w"), b"XAUTOCLAIM", b"XAUTOCLAIM s g c 0 0-0".split(), [b"0-0", [], [b"8-0"]])
    xack(it, [b"8-0", b"9-0"], 1)
    again = [[b"s", [[b"1-0", [b"job", b"1"]]]]]  # as after XGROUP SETID
    it.answered(Process("w"), b"XREADGROUP", b"XREADGROUP GROUP g c STREAMS s >".split(), again)
    xack(it, [b"1-0", b"10-0"], 1)
    assert [(entry, note) for entry, _, _, note in log.of("wire_acked")] == [
        ("1-0", "w"),
        ("2-0", "w"),
        ("3-0", "w"),
        ("4-0", "w"),
        ("5-0", "w"),
        ("6-0", "w 1 of 2"),
        ("7-0", "w 1 of 2"),
        ("9-0", "w"),
        ("1-0", "w 1 of 2"),
        ("10-0", "w 1 of 2"),
    ]


def test_with_claim_a_read_brings_both(log):
    """Redis 8.4: XREADGROUP ... CLAIM; the fourth column counts the deliveries before this one."""
    it = Tap(log)
    words = b"XREADGROUP GROUP g c CLAIM 10 STREAMS s >".split()
    rows = [[b"1-0", [b"job", b"1"], 50, 1], [b"2-0", [b"job", b"2"], 0, 0]]
    for reply in ([[b"s", rows]], {b"s": rows}):
        it.answered(Process("w"), b"XREADGROUP", words, reply)
    assert log.all == [("wire_claimed", "1-0", 1, 2, "w"), ("wire_delivered", "2-0", 2, 1, "w")] * 2


def test_the_job_of_an_entry(log):
    jobs = {
        "XADD s NOMKSTREAM KEEPREF MAXLEN ~ 10 LIMIT 5 * x y job 7": 7,
        "XADD s IDMP me 1 MAXLEN = 3 * job 8 job 9": 8,
        "XADD s MAXLEN = 3 * x job": -1,
        "XADD s * job seven": -1,
        "XADD s * job 99999999999999999999": -1,
    }
    for line in jobs:
        Tap(log).answered(Process("w"), b"XADD", line.encode().split(), b"9-1")
    assert [job for _, job, *_ in log.of("wire_added")] == list(jobs.values())


def test_replies_of_an_unknown_shape_say_nothing(log):
    for line, reply in (
        ("XADD s * job 1", b"no ID"),
        ("XADD s * job 1", 7),
        ("XREADGROUP GROUP g c STREAMS s >", None),
        ("XREADGROUP GROUP g c STREAMS s >", [[b"s", [[b"1-1"]]]]),
        ("XAUTOCLAIM s g c 0 0-0", [b"0-0"]),
        ("XACK s g 1-1", b"one"),
    ):
        words = line.encode().split()
        assert Tap(log).answered(Process("w", Log()), words[0], words, reply) == [], line
    assert log.all == []


def test_it_forgets_what_is_long_ago(log, monkeypatch):
    monkeypatch.setattr(tap, "_REMEMBERED", 2)
    it = Tap(log)
    for number in range(3):
        it.answered(Process("w"), b"XADD", [b"XADD", b"s", b"*", b"job", b"%d" % number], b"%d-1" % number)
    xack(it, [b"2-1", b"1-1", b"0-1"], 3)
    assert [job for _, job, *_ in log.of("wire_acked")] == [2, 1, -1]
