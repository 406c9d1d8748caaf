"""What the tap records: on a real server, in both protocols, as redis-py and as a raw socket speak."""

import pytest
from redis.exceptions import ConnectionError, ResponseError

from streamlab.faults.proxy import Proxy, tap
from streamlab.faults.proxy.tap import Process, Tap
from streamlab.faults.proxy.toxics import CutReply, Hold
from streamlab.servers import connect
from tests.faults.proxied import Log, Logs, Raw, said
from tests.waiting import wait_until

GROUP = "g"


@pytest.fixture
def logs():
    return Logs()


@pytest.fixture
def proxy(server, logs, stream):
    with Proxy(lambda: server.url, logs, stream=stream, group=GROUP) as proxy:
        yield proxy


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def worker(request, proxy, client, stream):
    """A custom worker: what it knows is written in its name."""
    client.xgroup_create(stream, GROUP, mkstream=True)
    with connect(proxy.listen("worker-2", 3, custom=True), protocol=request.param) as worker:
        yield worker


def test_a_message_from_its_adding_to_its_end(worker, proxy, stream, logs):
    with connect(proxy.listen("producer")) as producer:
        one = producer.xadd(stream, {"job": 4, "x": "y"}, maxlen=1000, approximate=True, limit=10)
        two = producer.xadd(stream, {"x": "y", "job": 5}, nomkstream=True)
        three = producer.xadd(stream, {"x": "y"})
    assert worker.xreadgroup(GROUP, "c", {stream: ">"}, count=10)
    assert worker.xreadgroup(GROUP, "c", {stream: "0"}, count=1)
    assert worker.xack(stream, GROUP, one, two) == 2
    assert worker.xack(stream, GROUP, one) == 0
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
    assert logs["worker-2", 3].all == [
        ("read", one, 4, 1, ""),
        ("read", two, 5, 1, ""),
        ("read", three, -1, 1, ""),
        ("own", one, 4, 0, ""),
        ("acked", one, 4, 0, ""),
        ("acked", two, 5, 0, ""),
    ]
    assert set(logs) == {("wire", 1), ("worker-2", 3)}, "the producer keeps its own"


def test_claims_and_heartbeats(worker, client, server, stream, logs):
    entries = [client.xadd(stream, {"job": job}) for job in range(4)]
    worker.xreadgroup(GROUP, "a", {stream: ">"})
    mine = logs["worker-2", 3]
    mine.all.clear()
    assert worker.xclaim(stream, GROUP, "a", 0, entries[:2], justid=True) == entries[:2]
    assert mine.all == [], "a heartbeat is no claim"
    assert worker.xclaim(stream, GROUP, "b", 0, entries[:1], justid=True)
    assert worker.xclaim(stream, GROUP, "b", 0, entries[1:2])
    client.xdel(stream, entries[2])
    reply = worker.xautoclaim(stream, GROUP, "b", 0, justid=False)
    deleted = [("deleted", entries[2], 2, 0, "")] if len(reply) > 2 else []
    claims = [("claimed", entries[job], job, 0, "") for job in (0, 1, 0, 1, 3)]
    assert mine.all == claims + deleted
    assert logs.wire.of("wire_claimed") == [(*event[1:4], "worker-2") for event in claims]
    mine.all.clear()
    worker.xautoclaim(stream, GROUP, "b", 0, justid=True)
    worker.xautoclaim(stream, GROUP, "c", 0, count=1, justid=True)
    assert mine.all == [claims[0]]


def test_own_entries_that_were_deleted(worker, client, stream, logs):
    entry = client.xadd(stream, {"job": 1})
    worker.xreadgroup(GROUP, "c", {stream: ">"})
    client.xdel(stream, entry)
    worker.xreadgroup(GROUP, "c", {stream: "0"})
    assert logs["worker-2", 3].all == [("read", entry, 1, 1, ""), ("deleted", entry, 1, 0, "")]
    assert logs.wire.kinds == ["wire_delivered"]


def test_pipelines_and_transactions(worker, stream, logs):
    """What was queued is answered by EXEC, all at once."""
    with worker.pipeline(transaction=True) as pipeline:
        entries = pipeline.xadd(stream, {"job": 1}).xadd(stream, {"job": 2}).xlen(stream).execute()[:2]
    with worker.pipeline(transaction=False) as pipeline:
        pipeline.xreadgroup(GROUP, "c", {stream: ">"}).incr(stream + "n").xack(stream, GROUP, *entries).execute()
    with worker.pipeline(transaction=True) as pipeline:
        pipeline.xadd(stream, {"job": 3}).incr(stream)
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            pipeline.execute()
    assert logs.wire.kinds == ["wire_added"] * 2 + ["wire_delivered"] * 2 + ["wire_acked"] * 2 + [
        "wire_added",
        "wire_error",
    ]
    assert logs.wire.of("wire_error") == [("", -1, 0, "worker-2 INCRBY WRONGTYPE")]
    assert logs["worker-2", 3].kinds == ["read", "read", "acked", "acked"]


def test_a_transaction_given_up_did_nothing(proxy, client, stream, logs):
    with Raw(proxy.listen("worker-1")) as raw:
        raw.sendall(said(["MULTI"], ["XADD", stream, "*", "job", 1], ["DISCARD"], ["XADD", stream, "7-1", "job", 2]))
        assert raw.exactly(5 + 9 + 5 + 9).endswith(b"7-1\r\n")
        raw.sendall(said(["MULTI"], ["XADD", stream], ["XADD", stream, "*", "job", 3], ["EXEC"], ["PING"]))
        data = b""
        while not data.endswith(b"+PONG\r\n"):
            data += raw.recv(1000)
    assert logs.wire.of("wire_added") == [("7-1", 2, 0, "worker-1")]
    assert [note for *_, note in logs.wire.of("wire_error")] == ["worker-1 XADD ERR", "worker-1 EXEC EXECABORT"]


def test_push_frames_answer_nothing(proxy, client, stream, logs):
    """A client that is told of changes of a key, in the middle of its own business."""
    with Raw(proxy.listen("worker-1")) as raw:
        raw.sendall(said(["HELLO", 3], ["CLIENT", "TRACKING", "ON"], ["GET", stream + "x"]))
        wait_until("the reply is there", lambda: raw.recv(10_000).endswith(b"_\r\n"))
        client.set(stream + "x", 1)
        raw.sendall(said(["XADD", stream, "8-1", "job", 1]))
        data = b""
        while b"8-1" not in data:
            data += raw.recv(1000)
        assert b">2\r\n$10\r\ninvalidate" in data
    assert logs.wire.of("wire_added") == [("8-1", 1, 0, "worker-1")]


def test_rather_nothing_than_the_reply_to_another_request(proxy, client, stream, logs):
    """From there on nobody knows which reply answers what; what was asked before is still understood."""
    for riddle in (["SUBSCRIBE", "streamlab:nothing"], ["CLIENT", "REPLY", "SKIP"], ["CLIENT", "REPLY", "OFF"]):
        client.delete(stream)
        logs.wire.all.clear()
        with Raw(proxy.listen("worker-1")) as raw:
            adds = [["XADD", stream, f"{number}-1", "job", number] for number in range(1, 5)]
            raw.sendall(said(["HELLO", 3], adds[0], riddle, adds[1], adds[2], ["CLIENT", "REPLY", "ON"], adds[3]))
            data = b""
            while not data.endswith(b"$3\r\n4-1\r\n"):
                data += raw.recv(10_000)
        assert client.xlen(stream) == 4
        assert logs.wire.of("wire_added") == [("1-1", 1, 0, "worker-1")]


def test_errors_name_the_command_and_nothing_that_is_secret(server, proxy, stream, logs):
    with connect(proxy.listen("worker-1")) as client, pytest.raises(ResponseError):
        client.xreadgroup(GROUP, "c", {stream: ">"})
    with Raw(proxy.listen("worker-2"), sign_in=False) as raw:
        raw.sendall(said(["AUTH", "open sesame"]))
        raw.recv(100)
    notes = [note for *_, note in logs.wire.of("wire_error")]
    assert notes[0] == "worker-1 XREADGROUP NOGROUP"
    assert "sesame" not in str(logs.wire.all)


def test_other_streams_and_groups_are_not_our_business(worker, client, stream, logs):
    client.xgroup_create(stream, "h")
    client.xgroup_create(stream + "2", GROUP, mkstream=True)
    entry = worker.xadd(stream + "2", {"job": 1})
    assert worker.xadd(stream, {"job": 2}) in str(worker.xreadgroup("h", "c", {stream: ">"}))
    worker.xack(stream + "2", GROUP, entry)
    assert worker.xreadgroup(GROUP, "c", {stream + "2": ">", stream: ">"})
    assert logs.wire.kinds == ["wire_added", "wire_delivered"]
    assert [job for _, job, *_ in logs.wire.of("wire_delivered")] == [2]


def test_a_worker_knows_when_the_bytes_reach_it(worker, client, proxy, stream, logs):
    """What Redis did is written at once. A reply that is held is known late; one that is cut, never."""
    client.xadd(stream, {"job": 1})
    proxy.add("it", Hold(direction="replies"))
    mine = logs["worker-2", 3]
    worker.connection_pool.disconnect()
    with Raw(proxy.listen("worker-2", 3, custom=True), sign_in=False) as raw:
        raw.sendall(said(["AUTH", client.connection_pool.connection_kwargs["password"]]))
        raw.sendall(said(["XREADGROUP", "GROUP", GROUP, "c", "STREAMS", stream, ">"]))
        wait_until("Redis has answered", lambda: logs.wire.kinds == ["wire_delivered"])
        assert mine.all == []
        proxy.remove("it")
        wait_until("it arrives", lambda: mine.kinds == ["read"])
    proxy.add("it", CutReply(command="XACK"))
    ((entry, *_),) = logs.wire.of("wire_delivered")
    client.xadd(stream, {"job": 2})
    with worker.pipeline(transaction=False) as pipeline, pytest.raises(ConnectionError):
        pipeline.xreadgroup(GROUP, "c", {stream: ">"}).xack(stream, GROUP, entry).execute()
    assert logs.wire.kinds == ["wire_delivered", "wire_delivered", "wire_acked", "wire_cut"]
    wait_until("what came before the cut is known", lambda: mine.kinds == ["read", "read"])


def test_xackdel_says_it_of_each(worker, server, client, stream, logs):
    if "ackdel" not in server.features:
        pytest.skip("no XACKDEL")
    entries = [client.xadd(stream, {"job": job}) for job in range(3)]
    worker.xreadgroup(GROUP, "c", {stream: ">"}, count=2)
    assert worker.xackdel(stream, GROUP, *entries) == [1, 1, -1]
    assert [entry for entry, *_ in logs.wire.of("wire_acked")] == entries[:2]


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


JOBS = {
    "XADD s * job 7": 7,
    "XADD s NOMKSTREAM KEEPREF MAXLEN ~ 10 LIMIT 5 * x y job 7": 7,
    "xadd s minid 1-1 ACKED 1-2 job 7": 7,
    "XADD s IDMP me 1 MAXLEN = 3 * job 7": 7,
    "XADD s IDMPAUTO me * job 7": 7,
    "XADD s * job seven": -1,
    "XADD s * job 99999999999999999999": -1,
    "XADD s * work job": -1,
}


def test_the_job_of_an_entry(log):
    for line in JOBS:
        Tap(log).answered(Process("w"), b"XADD", line.encode().split(), b"9-1")
    assert log.all == [("wire_added", "9-1", job, 0, "w") for job in JOBS.values()]


STRANGE = [
    ("XADD s", b"1-1"),
    ("XADD s * job 1", None),
    ("XADD s * job 1", b"no ID"),
    ("XADD s * job 1", b"99999999999999999999999-1"),
    ("XADD s * job 1", 7),
    ("XREADGROUP", None),
    ("XREADGROUP GROUP g c STREAMS s >", None),
    ("XREADGROUP GROUP g c STREAMS s >", [[b"s"]]),
    ("XREADGROUP GROUP g c STREAMS s >", {b"other": [[b"1-1", []]]}),
    ("XREADGROUP GROUP g c STREAMS s >", [[b"s", [[b"1-1"]]]]),
    ("XREADGROUP GROUP g c COUNT 1 s >", []),
    ("XCLAIM s g", []),
    ("XCLAIM s g c 0 1-1", [None]),
    ("XAUTOCLAIM s g c 0 0-0", [b"0-0"]),
    ("XACK s g 1-1", b"one"),
    ("XACK s g x", 1),
    ("XACKDEL s g IDS 1 1-1", 5),
    ("XACKDEL s g IDS 1 1-1 2-2", [1]),
]


def test_words_or_replies_of_an_unknown_shape_say_nothing(log):
    for line, reply in STRANGE:
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
