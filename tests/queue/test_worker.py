"""The worker: at least once, whatever happens to it, to its group or to its connection."""

import signal
import subprocess
import sys
import threading
import time

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, ResponseError

from streamlab.queue import Producer, Worker
from streamlab.servers import ProcessServer
from tests.queue.helpers import GROUP, Notes, add, consumers, pending, running, strand, wired
from tests.waiting import wait_until


def test_every_message_is_handled_once_and_acknowledged(client, stream):
    ids = add(client, stream, 250)
    seen, notes = [], Notes()
    worker = Worker(client, stream, GROUP, lambda m: seen.append((m.id, m.fields["n"])), observe=notes)
    with running(worker):
        wait_until("all are acknowledged", lambda: len(notes.ids("acked")) == 250)
        ids += add(client, stream, 50)
        wait_until("those added later, too", lambda: len(notes.ids("acked")) == 300)
    assert [entry for entry, _ in seen] == ids
    assert pending(client, stream) == 0
    assert consumers(client, stream) == [], "a worker that holds nothing leaves no consumer behind"
    assert notes.of(ids[0]) == ["read", "started", "done", "acked"]


def test_a_group_from_the_end_skips_what_is_there(client, stream):
    add(client, stream, 3)
    seen = []
    with running(Worker(client, stream, GROUP, lambda m: seen.append(m.id), start="$")):
        wait_until("the group is there", lambda: client.exists(stream) and client.xinfo_groups(stream))
        (late,) = add(client, stream, 1)
        wait_until("the late one is handled", lambda: seen == [late])


def test_own_pending_entries_come_first_after_a_restart(client, stream, group):
    ids = add(client, stream, 5)
    mine = strand(client, stream, 2, consumer="me")
    seen = []
    with running(Worker(client, stream, GROUP, lambda m: seen.append((m.id, m.deliveries)), consumer="me")):
        wait_until("all five are handled", lambda: len(seen) == 5)
    assert [entry for entry, _ in seen] == ids
    assert [entry for entry, deliveries in seen if deliveries == 2] == mine


def test_own_pending_entries_that_were_deleted(client, stream, group):
    ids = add(client, stream, 3)
    strand(client, stream, 3, consumer="me")
    client.xdel(stream, ids[1])
    notes = Notes()
    with running(Worker(client, stream, GROUP, lambda m: None, consumer="me", observe=notes)):
        wait_until("nothing is pending", lambda: pending(client, stream) == 0 and notes.ids("deleted"))
    assert notes.ids("done") == [ids[0], ids[2]]
    assert notes.ids("deleted") == [ids[1]]


@pytest.mark.parametrize("threads", [1, 3])
def test_a_long_job_stays_its_workers_own(client, stream, threads):
    add(client, stream, 1)
    release = threading.Event()
    mine, others = [], []

    def slow(message):
        mine.append(message.id)
        release.wait(20)

    with running(Worker(client, stream, GROUP, slow, claim_after=0.2, consumer="slow", threads=threads)):
        wait_until("the slow one has it", lambda: mine)
        looked = Notes()
        with running(Worker(client, stream, GROUP, others.append, claim_after=0.2, observe=looked)):
            idle = []

            def five_times_the_limit():
                row = client.xpending_range(stream, GROUP, "-", "+", 1)[0]
                idle.append(row["time_since_delivered"])
                return time.monotonic() - began > 1.0

            began = time.monotonic()
            wait_until("five times the limit has passed", five_times_the_limit)
            release.set()
            wait_until("it is acknowledged", lambda: pending(client, stream) == 0)
    assert (len(mine), others) == (1, [])
    assert max(idle) < 200


def test_a_zombie_does_not_start_what_it_has_lost(client, stream):
    """While a handler runs, another consumer claims all that this one has in flight."""
    ids = add(client, stream, 30)
    handled, notes = [], Notes()

    def handler(message):
        handled.append(message.id)
        if len(handled) == 16:  # the batch has grown by then
            mine = [row["message_id"] for row in client.xpending_range(stream, GROUP, "-", "+", 50, "zombie")]
            client.xclaim(stream, GROUP, "other", 0, mine)
            hand_over.wait(0.5)  # longer than it takes a heartbeat to find out

    hand_over = threading.Event()
    worker = Worker(client, stream, GROUP, handler, consumer="zombie", claim_after=0.4, observe=notes)
    with running(worker):
        wait_until("what it lost is noticed", lambda: notes.ids("disowned"))
        wait_until("what nobody else does is claimed back", lambda: set(handled) == set(ids))
        wait_until("all is acknowledged", lambda: pending(client, stream) == 0)
    lost = set(notes.ids("disowned"))
    assert [notes.of(entry)[:3] for entry in lost] == [["read", "disowned", "claimed"]] * len(lost)


@pytest.mark.parametrize("how", ["delete", "destroy"])
def test_a_group_that_vanishes_is_made_again(client, stream, how):
    add(client, stream, 1)
    notes = Notes()
    with running(Worker(client, stream, GROUP, lambda m: None, observe=notes)):
        wait_until("it is at work", lambda: len(notes.ids("acked")) == 1)
        client.delete(stream) if how == "delete" else client.xgroup_destroy(stream, GROUP)
        (late,) = add(client, stream, 1)
        wait_until("it is at work again", lambda: late in notes.ids("acked"))
    assert 1 <= len(notes.ids("healed")) <= 3, "it does not spin"


def test_a_lost_reply_of_a_read_strands_nothing(server, client, stream):
    notes = Notes()
    with wired(server) as (wire, through):
        worker = Worker(through, stream, GROUP, lambda m: None, observe=notes, claim_after=60)
        with running(worker):
            wait_until("it is at work", lambda: client.exists(stream) and consumers(client, stream))
            wire.cut_replies(b"XREADGROUP", 1)
            ids = add(client, stream, 5)
            wait_until("all are done long before the claim limit", lambda: set(notes.ids("acked")) == set(ids))
        assert wire.cuts == 1
    assert pending(client, stream) == 0


def test_a_lost_reply_of_an_ack_does_not_repeat_the_work(server, client, stream):
    done, notes = [], Notes()
    with wired(server) as (wire, through):
        with running(Worker(through, stream, GROUP, lambda m: done.append(m.id), observe=notes)):
            wait_until("it is at work", lambda: client.exists(stream) and consumers(client, stream))
            wire.cut_replies(b"XACK", 2)
            ids = add(client, stream, 5)
            wait_until("all are acknowledged", lambda: set(notes.ids("acked")) == set(ids))
        assert wire.cuts == 2
    assert sorted(done) == sorted(ids)
    assert pending(client, stream) == 0


@pytest.mark.parametrize("threads", [1, 4])
def test_redis_killed_and_restarted_loses_nothing_that_it_kept(threads, caplog):
    """With an append-only file that is written at every command."""
    with ProcessServer(persistence="aof-always") as server:
        client = server.client()
        stream = f"{server.prefix}s"
        notes = Notes()
        producer = Producer(client, stream)
        worker = Worker(
            client, stream, GROUP, lambda m: time.sleep(0.001), observe=notes, threads=threads, claim_after=0.5
        )
        with running(worker):
            ids = producer.add_many({"n": n} for n in range(300))
            wait_until("it is in the middle of its work", lambda: len(notes.ids("done")) > 20)
            server.restart("KILL")
            ids += producer.add_many({"n": n} for n in range(50))
            wait_until("everything is done", lambda: set(notes.ids("done")) == set(ids), timeout=20)
            wait_until("nothing is pending", lambda: pending(client, stream) == 0)
        # None where it was not asking for anything at that moment: it finds the connection closed, and makes another.
        assert len(notes.ids("reconnected")) <= 1
        producer.close()
        client.close()
    tries = [record for record in caplog.records if "trying again" in record.message]
    assert len(tries) < 50, "it waits between its tries"


@pytest.mark.parametrize("threads", [1, 2])
def test_what_was_done_while_redis_was_away_is_not_done_again(threads):
    """Its XACK could not be sent: the worker knows that it is done, and acknowledges it before it looks for work."""
    with ProcessServer(persistence="aof-always") as server:
        client, stream, done = server.client(), f"{server.prefix}s", []
        add(client, stream, 1)

        def handler(message):
            done.append(message.id)
            server.kill()

        with running(Worker(client, stream, GROUP, handler, consumer="me", claim_after=0.1, threads=threads)):
            wait_until("it is done", lambda: done)
            wait_until("the claim limit is over", lambda: not server.alive())
            server.restart("KILL")
            wait_until("it is acknowledged", lambda: pending(client, stream) == 0)
        assert len(done) == 1
        client.close()


def test_a_worker_tells_once_that_redis_was_away(caplog):
    with ProcessServer() as server:
        client = server.client()
        stream = f"{server.prefix}s"
        notes = Notes()
        with running(Worker(client, stream, GROUP, lambda m: None, observe=notes)):
            wait_until("it is at work", lambda: client.exists(stream) and consumers(client, stream))
            server.kill()
            wait_until("it has tried in vain", lambda: "trying again" in caplog.text)
            server.restart("KILL")
            wait_until("it has told", lambda: notes.ids("reconnected"))
        assert len(notes.ids("reconnected")) == 1
        client.close()


def test_a_wrong_password_is_not_tried_for_ever(any_server):
    parts = any_server.url.rsplit("@", 1)[1]
    worker = Worker(Redis.from_url(f"redis://:wrong@{parts}"), "s", GROUP, print)
    with pytest.raises(AuthenticationError):
        worker.run()


def test_a_key_that_is_no_stream_is_not_tried_for_ever(client, stream):
    client.set(stream, "text")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        Worker(client, stream, GROUP, print).run()


def test_fast_acks_travel_together_and_slow_ones_alone(client, stream):
    notes = Notes()
    add(client, stream, 500)
    before = client.info("commandstats")
    with running(Worker(client, stream, GROUP, lambda m: None, observe=notes)):
        wait_until("all are acknowledged", lambda: len(notes.ids("acked")) == 500)
    calls = client.info("commandstats")["cmdstat_xack"]["calls"] - before.get("cmdstat_xack", {"calls": 0})["calls"]
    assert calls < 100, f"{calls} XACKs for 500 quick messages"

    slow = add(client, stream, 4)
    spans = []

    def sluggish(message):
        time.sleep(0.03)
        spans.append(pending(client, stream))

    with running(Worker(client, stream, GROUP, sluggish)):
        wait_until("all are done", lambda: len(spans) == len(slow))
    assert max(spans) == 1, "a slow worker holds one message, not those that others could do"


def test_threads_do_not_wait_for_the_slowest(client, stream):
    slow, *quick = add(client, stream, 41)
    release, notes = threading.Event(), Notes()

    def handler(message):
        if message.id == slow:
            release.wait(20)

    with running(Worker(client, stream, GROUP, handler, threads=4, observe=notes)):
        wait_until("all but the slowest are acknowledged", lambda: set(notes.ids("acked")) == set(quick))
        release.set()
    assert pending(client, stream) == 0
    assert consumers(client, stream) == []


def test_threads_hold_no_more_than_their_number(client, stream):
    add(client, stream, 50)
    release = threading.Event()
    started = []

    def handler(message):
        started.append(message.id)
        release.wait(20)

    with running(Worker(client, stream, GROUP, handler, threads=5)):
        wait_until("five are busy", lambda: len(started) == 5)
        assert pending(client, stream) == 5
        release.set()
        wait_until("all are done", lambda: len(started) == 50)


def test_a_consumer_with_pending_entries_is_not_deleted(client, stream):
    add(client, stream, 1)
    notes = Notes()

    def handler(message):
        raise RuntimeError("try again much later")

    with running(Worker(client, stream, GROUP, handler, consumer="me", retry_delay=30, observe=notes)):
        wait_until("it has failed", lambda: notes.ids("retry"))
    assert pending(client, stream) == 1
    assert consumers(client, stream) == ["me"]


def test_idle_consumers_that_hold_nothing_are_forgotten(client, stream, group):
    from streamlab.queue.connection import Connection
    from streamlab.queue.group import forget_idle_consumers

    add(client, stream, 1)
    strand(client, stream, 1, consumer="holds")
    client.xgroup_createconsumer(stream, GROUP, "empty")
    connection = Connection(client)
    assert forget_idle_consumers(connection, stream, GROUP, 60) == []
    assert forget_idle_consumers(connection, stream, GROUP, 0) == ["empty"]
    connection.close()
    assert consumers(client, stream) == ["holds"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch": 0},
        {"claim_after": 0},
        {"max_deliveries": 0},
        {"retry_delay": -1},
        {"threads": 0},
        {"timeout": float("nan")},
    ],
)
def test_settings_that_cannot_be_meant(any_server, wrong):
    with any_server.client() as client, pytest.raises(ValueError, match=next(iter(wrong))):
        Worker(client, "s", GROUP, print, **wrong)


SCRIPT = """
import sys, time
from redis import Redis
from streamlab.queue import Worker

def handler(message):
    print("started", flush=True)
    time.sleep(0.5)

Worker(Redis.from_url(sys.stdin.readline().strip()), sys.argv[1], "g", handler, consumer="me").run()
print("left in order", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_it_finish_what_it_holds(any_server, client_of_any, any_stream, number):
    client, stream = client_of_any, any_stream
    add(client, stream, 10)
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, stream], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        process.stdin.write(any_server.url + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "started\n"
        process.send_signal(number)
        assert process.stdout.read().endswith("left in order\n")
        assert process.wait(10) == 0
    assert pending(client, stream) == 0
    assert consumers(client, stream) == []
    assert client.xinfo_groups(stream)[0]["last-delivered-id"] != client.xinfo_stream(stream)["last-generated-id"]
