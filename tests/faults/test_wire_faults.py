"""The faults of the wire, each on a real server through a real proxy: effect, end, and what it says that it met."""

import time
from itertools import pairwise

import pytest
from redis.exceptions import ConnectionError, TimeoutError

from streamlab.errors import UsageError
from streamlab.faults import CutReply, Delay, Drop, Hold, Refuse, Reset, Throttle
from streamlab.servers import connect
from tests.faults.proxied import Raw, in_redis, said
from tests.faults.runs import striking
from tests.waiting import wait_until

PONG = b"+PONG\r\n"


@pytest.mark.parametrize(("direction", "least"), [("both", 2 * 0.08), ("replies", 0.08)])
def test_late_bytes_come_in_order(context, raw, direction, least):
    fault = Delay("worker-1", at=1, delay=0.1, jitter=0.02, seconds=5, direction=direction)
    with striking(fault, context) as record:
        for number in range(10):
            time.sleep(0.005)  # apart, but closer than the jitter: each could overtake the one before
            last = time.monotonic()
            raw.sendall(said(["ECHO", number]))
        assert raw.exactly(70) == b"".join(b"$1\r\n%d\r\n" % number for number in range(10))
        assert time.monotonic() - last > least, "the least that they can be late"
    assert record.hit == 70 + (10 * len(said(["ECHO", 1])) if direction == "both" else 0)
    assert "worker-1: bytes are 0.1 s late, give or take 0.02 s, " in record.said
    times = [time.monotonic()]
    for _ in range(5):
        raw.ask(["PING"], reply=PONG)
        times.append(time.monotonic())
    assert min(end - begin for begin, end in pairwise(times)) < least, "it is over"


def test_a_narrow_wire_takes_its_time(context, one, key):
    one.set(key, value := "x" * 30_000)
    with striking(Throttle("worker-1", at=1, bytes_per_second=100_000, seconds=5, direction="replies"), context) as it:
        started = time.monotonic()
        assert one.get(key) == value
        narrow = time.monotonic() - started
        assert narrow > 0.25
    assert it.hit == 8 + 30_000 + 2
    started = time.monotonic()
    assert one.get(key) == value
    assert time.monotonic() - started < narrow / 2


def test_held_bytes_arrive_late_and_in_order(context, raw, direct, key):
    requests = [said(["RPUSH", key, number]) for number in range(100)]
    replies = b"".join(b":%d\r\n" % (number + 1) for number in range(100))
    for direction, size in (("requests", len(b"".join(requests))), ("replies", len(replies))):
        direct.delete(key)
        with striking(Hold("worker-1", at=1, seconds=5, direction=direction), context) as record:
            for request in requests:
                raw.sendall(request)
            wait_until("they have arrived", lambda done=direction == "replies": direct.llen(key) == 100 * done)
            assert raw.silent()
            assert direct.exists(key) == (direction == "replies")
        assert raw.exactly(len(replies)) == replies
        assert record.hit == size
    assert direct.lrange(key, 0, -1) == [str(number) for number in range(100)]


def test_hold_and_drop_keep_back_that_a_connection_was_closed(context, direct, proxy, key):
    for kind in (Hold, Drop):
        with Raw(proxy.listen("worker-1")) as raw:
            raw.ask(["CLIENT", "SETNAME", key], reply=b"+OK\r\n")
            with striking(kind("worker-1", at=1, seconds=5, direction="requests"), context):
                raw.close()
                with pytest.raises(AssertionError):
                    wait_until("Redis knows", lambda: not in_redis(direct, key), timeout=0.2)
            wait_until("Redis knows", lambda: not in_redis(direct, key))


@pytest.mark.parametrize("direction", ["requests", "replies", "both"])
def test_dropped_requests_never_reach_redis_and_dropped_replies_were_replies(
    context, raw, one, two, direct, key, logs, direction
):
    request, done = said(["XADD", key, "5-0", "job", 7]), direction == "replies"
    with striking(Drop("worker-1", at=1, seconds=5, direction=direction), context) as record:
        raw.sendall(request)
        assert raw.silent()
        assert direct.exists(key) == done
        assert two.ping()
    assert record.hit == (9 if done else len(request))
    with pytest.raises(ConnectionResetError):
        raw.recv(1)
    assert one.ping(), "of this one nothing was lost"
    assert logs.wire.of("wire_added") == [("5-0", 7, 0, "worker-1")] * done


def test_a_reset_ends_the_connections_of_those_meant(context, proxy, direct, raw, one, two, key):
    with Raw(proxy.listen("producer")) as producer, Raw(proxy.listen("worker-1", 2)) as late:
        for each in (raw, late, producer):
            each.ask(["CLIENT", "SETNAME", key], reply=b"+OK\r\n")
        with striking(Reset("worker-1", at=1), context) as record:
            assert record.hit == 3
        for each in (raw, late):
            with pytest.raises(ConnectionResetError):
                each.recv(1)
        wait_until("Redis knows", lambda: in_redis(direct, key) == 1)
        with striking(Reset("all", at=1), context) as record:
            assert record.hit == 1, "all are all workers"
        producer.ask(["PING"], reply=PONG)
        with striking(Reset("producer", at=1), context) as record:
            assert record.hit == 1
    assert one.ping()
    assert two.ping()


def test_refused_connections_are_counted(context, one, two):
    with striking(Refuse("worker-1", at=1, seconds=5), context) as record:
        assert record.hit == 1, "the connection that there was"
        for _ in range(2):
            with pytest.raises(ConnectionError):
                one.ping()
        assert two.ping()
    assert record.hit == 3
    assert one.ping()


def test_the_nth_reply_is_cut_and_redis_has_done_it(context, direct, one, two, key, logs):
    with striking(CutReply("worker-1", at=1, command="rpush", nth=2, times=2), context) as record:
        two.rpush(key, 0)
        one.rpush(key, 1)
        one.llen(key)
        for number in (2, 3):
            with pytest.raises(ConnectionError):
                one.rpush(key, number)
        one.rpush(key, 4)
    assert record.hit == 2
    assert direct.lrange(key, 0, -1) == ["0", "1", "2", "3", "4"]
    assert logs.wire.of("wire_cut") == [("", -1, 0, "worker-1 RPUSH")] * 2


def test_a_cut_that_is_lifted_in_time_cuts_nothing(context, direct, raw, key):
    with striking(CutReply("worker-1", at=1, command="BLPOP"), context) as record:
        raw.sendall(said(["BLPOP", key, 0]))
        wait_until("it waits in Redis", lambda: any("b" in row["flags"] for row in direct.client_list()))
    assert record.hit == 0
    direct.rpush(key, "a")
    assert raw.upto(b"a\r\n")
    raw.ask(["PING"], reply=PONG)


def test_of_a_pipeline_passes_what_came_before_the_cut(context, proxy, direct, key, logs):
    """Within a transaction the reply is in that to EXEC. What Redis has answered is recorded, heard or not."""
    direct.set(key + "long", "x" * 3_000_000)
    transaction = [["MULTI"], ["RPUSH", key, 1], ["XADD", key + "s", "1-1", "job", 1], ["EXEC"], ["XLEN", key + "s"]]
    queued = b"+OK\r\n+QUEUED\r\n+QUEUED\r\n"
    for command, commands, passed in (
        ("LLEN", [["RPUSH", key, 1], ["LLEN", key], ["RPUSH", key, 3]], b":1\r\n"),
        ("GET", [["PING"], ["GET", key + "long"]], PONG),
        ("RPUSH", transaction, queued),
        ("EXEC", [["DEL", key + "s"], *transaction], b":1\r\n" + queued),
    ):
        with striking(CutReply("worker-1", at=1, command=command), context), Raw(proxy.listen("worker-1")) as raw:
            raw.sendall(said(*commands))
            assert raw.upto(b"nothing more") == passed
        assert logs.wire.of("wire_cut")[-1:] == [("", -1, 0, f"worker-1 {command}")]
    assert direct.llen(key) == 4
    assert logs.wire.of("wire_added") == [("1-1", 1, 0, "worker-1")] * 2


def test_two_at_a_time_end_one_by_one(context, proxy, raw):
    with striking(Hold("worker-1", at=1, seconds=5), context, 1) as second:
        with striking(Hold("all", at=1, seconds=5, direction="replies"), context, 2) as first:
            raw.sendall(said(["PING"]))
        assert raw.silent()
        with connect(proxy.listen("worker-1", 2), socket_timeout=0.1) as late, pytest.raises(TimeoutError):
            late.ping()
    assert first.hit == 0
    assert second.hit >= len(said(["PING"]))
    assert raw.exactly(len(PONG)) == PONG


def test_without_a_proxy_it_is_refused_and_where_nobody_holds_anything_nobody_is_hit(context, one):
    for fault in (Reset("", at=1), Refuse("", at=1, seconds=1), Hold("", at=1, seconds=1)):
        with striking(fault, context) as record:
            assert one.ping()
        assert record.hit == 0
        assert "nobody" in record.said
    context.proxy = None
    with pytest.raises(UsageError, match="no proxy"), striking(Reset("worker-1", at=1), context):
        pass
