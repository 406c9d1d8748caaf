"""The worker: at least once, whatever happens to it, to its group or to its connection."""

import time

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from streamlab.queue import Producer
from streamlab.queue.connection import Connection
from streamlab.queue.group import forget_consumers
from streamlab.servers import ProcessServer
from tests.queue.helpers import GROUP, Queue, Waiting, fail, wired
from tests.waiting import wait_until


def test_every_message_is_handled_once_and_acknowledged(q):
    ids = q.add(250)
    seen = []
    with q.running(lambda m: seen.append((m.id, m.fields["n"]))):
        wait_until("all are acknowledged", lambda: len(q.notes.ids("acked")) == 250)
        ids += q.add(50)
        wait_until("those added later, too", lambda: len(q.notes.ids("acked")) == 300)
    assert [entry for entry, _ in seen] == ids
    assert q.pending() == 0
    assert q.consumers() == [], "a worker that holds nothing leaves no consumer behind"
    assert q.notes.of(ids[0]) == ["read", "started", "done", "acked"]


@pytest.mark.parametrize("command", [b"XREADGROUP", b"XACK"])
def test_a_lost_reply_strands_nothing_and_repeats_nothing(q, command):
    done = []
    with wired(q.server) as (wire, through):
        with q.running(lambda m: done.append(m.id), client=through, claim_after=60):
            wait_until("it is at work", lambda: q.group_exists() and q.consumers())
            wire.cut_replies(command, 1)
            ids = q.add(5)
            wait_until("all are done long before the claim limit", lambda: set(q.notes.ids("acked")) == set(ids))
        assert wire.cuts == 1
    assert sorted(done) == sorted(ids)
    assert q.pending() == 0


def test_redis_killed_and_restarted_loses_nothing_that_it_kept(threads, caplog):
    """With an append-only file that is written at every command."""
    with ProcessServer(persistence="aof-always") as server, server.client() as client:
        q, producer = Queue(server, client, "s"), Producer(client, "s")
        with q.running(lambda m: time.sleep(0.001), threads=threads, claim_after=0.5):
            ids = producer.add_many({"n": n} for n in range(300))
            wait_until("it is in the middle of its work", lambda: len(q.notes.ids("done")) > 20)
            server.restart("KILL")
            ids += producer.add_many({"n": n} for n in range(50))
            wait_until("everything is done", lambda: set(q.notes.ids("done")) == set(ids), timeout=20)
            wait_until("nothing is pending", lambda: q.pending() == 0)
        # None where it was not asking for anything at that moment: it finds the connection closed, and makes another.
        assert len(q.notes.ids("reconnected")) <= 1
        producer.close()
    tries = [record for record in caplog.records if "trying again" in record.message]
    assert len(tries) < 50, "it waits between its tries"


def test_what_was_done_while_redis_was_away_is_not_done_again(threads, caplog):
    """Its XACK could not be sent: the worker knows that it is done, and acknowledges it before it looks for work."""
    with ProcessServer(persistence="aof-always") as server, server.client() as client:
        q, done = Queue(server, client, "s"), []
        q.add(1)

        def handler(message):
            done.append(message.id)
            server.kill()

        with q.running(handler, claim_after=0.1, threads=threads):
            wait_until("it has tried in vain", lambda: caplog.text.count("trying again") > 1)
            server.restart("KILL")
            wait_until("it is acknowledged", lambda: q.pending() == 0)
            wait_until("it has told that Redis was away", lambda: q.notes.ids("reconnected"))
        assert (len(done), len(q.notes.ids("reconnected"))) == (1, 1)


def test_a_wrong_password_is_not_tried_for_ever(q1):
    parts = q1.server.url.rsplit("@", 1)[1]
    with pytest.raises(AuthenticationError):
        q1.worker(client=Redis.from_url(f"redis://:wrong@{parts}")).run()


def test_fast_acks_travel_together_and_slow_ones_alone(q1):
    q1.add(500)
    before = q1.client.info("commandstats")
    with q1.running():
        wait_until("all are acknowledged", lambda: len(q1.notes.ids("acked")) == 500)
    calls = q1.client.info("commandstats")["cmdstat_xack"]["calls"] - before.get("cmdstat_xack", {"calls": 0})["calls"]
    assert calls < 100, f"{calls} XACKs for 500 quick messages"

    slow = q1.add(4)
    spans = []

    def sluggish(message):
        time.sleep(0.03)
        spans.append(q1.pending())

    with q1.running(sluggish):
        wait_until("all are done", lambda: len(spans) == len(slow))
    assert max(spans) == 1, "a slow worker holds one message, not those that others could do"


def test_threads_do_not_wait_for_the_slowest(q1):
    ids = q1.add(341)
    slow = ids.pop(300)  # the worker has learned by then that messages are quick
    handler = Waiting(slow)
    with q1.running(handler, threads=4):
        wait_until("all but the slowest are acknowledged", lambda: set(q1.notes.ids("acked")) == set(ids))
        handler.release.set()
    assert (q1.pending(), q1.consumers()) == (0, [])


def test_threads_hold_no_more_than_their_number(q1):
    q1.add(50)
    handler = Waiting()
    with q1.running(handler, threads=5):
        wait_until("five are busy", lambda: len(handler.begun) == 5)
        assert q1.pending() == 5
        handler.release.set()
        wait_until("all are done", lambda: len(handler.done) == 50)


def test_only_consumers_with_nothing_pending_are_deleted(q):
    q.make_group()
    q.add(2)
    q.strand(1, consumer="holds")
    q.client.xgroup_createconsumer(q.stream, GROUP, "empty")
    with q.running(fail, consumer="me", retry_delay=30):
        wait_until("it has failed", lambda: q.notes.ids("retry"))
    assert q.consumers() == ["empty", "holds", "me"]
    connection = Connection(q.client)
    forget_consumers(connection, q.stream, GROUP, idle=60)
    assert len(q.consumers()) == 3
    forget_consumers(connection, q.stream, GROUP, idle=0)
    connection.close()
    assert q.consumers() == ["holds", "me"]
    assert q.pending() == 2
