"""The worker: at least once, whatever happens to it, to its group or to its connection."""

import threading
import time

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from streamlab.queue import Producer, Worker
from streamlab.queue.connection import Connection
from streamlab.queue.group import forget_consumers
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


@pytest.mark.parametrize("command", [b"XREADGROUP", b"XACK"])
def test_a_lost_reply_strands_nothing_and_repeats_nothing(server, client, stream, command):
    done, notes = [], Notes()
    with wired(server) as (wire, through):
        worker = Worker(through, stream, GROUP, lambda m: done.append(m.id), observe=notes, claim_after=60)
        with running(worker):
            wait_until("it is at work", lambda: client.exists(stream) and consumers(client, stream))
            wire.cut_replies(command, 1)
            ids = add(client, stream, 5)
            wait_until("all are done long before the claim limit", lambda: set(notes.ids("acked")) == set(ids))
        assert wire.cuts == 1
    assert sorted(done) == sorted(ids)
    assert pending(client, stream) == 0


@pytest.mark.parametrize("threads", [1, 4])
def test_redis_killed_and_restarted_loses_nothing_that_it_kept(threads, caplog):
    """With an append-only file that is written at every command."""
    with ProcessServer(persistence="aof-always") as server, server.client() as client:
        stream, notes = f"{server.prefix}s", Notes()
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
    tries = [record for record in caplog.records if "trying again" in record.message]
    assert len(tries) < 50, "it waits between its tries"


@pytest.mark.parametrize("threads", [1, 2])
def test_what_was_done_while_redis_was_away_is_not_done_again(threads, caplog):
    """Its XACK could not be sent: the worker knows that it is done, and acknowledges it before it looks for work."""
    with ProcessServer(persistence="aof-always") as server, server.client() as client:
        stream, done, notes = f"{server.prefix}s", [], Notes()
        add(client, stream, 1)

        def handler(message):
            done.append(message.id)
            server.kill()

        worker = Worker(client, stream, GROUP, handler, claim_after=0.1, threads=threads, observe=notes)
        with running(worker):
            wait_until("it has tried in vain", lambda: caplog.text.count("trying again") > 1)
            server.restart("KILL")
            wait_until("it is acknowledged", lambda: pending(client, stream) == 0)
            wait_until("it has told that Redis was away", lambda: notes.ids("reconnected"))
        assert (len(done), len(notes.ids("reconnected"))) == (1, 1)


def test_a_wrong_password_is_not_tried_for_ever(any_server):
    parts = any_server.url.rsplit("@", 1)[1]
    worker = Worker(Redis.from_url(f"redis://:wrong@{parts}"), "s", GROUP, print)
    with pytest.raises(AuthenticationError):
        worker.run()


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
    assert (pending(client, stream), consumers(client, stream)) == (0, [])


def test_threads_hold_no_more_than_their_number(client, stream):
    add(client, stream, 50)
    release, begun = threading.Event(), []

    def handler(message):
        begun.append(message.id)
        release.wait(20)

    with running(Worker(client, stream, GROUP, handler, threads=5)):
        wait_until("five are busy", lambda: len(begun) == 5)
        assert pending(client, stream) == 5
        release.set()
        wait_until("all are done", lambda: len(begun) == 50)


def test_only_consumers_with_nothing_pending_are_deleted(client, stream, group):
    add(client, stream, 2)
    strand(client, stream, 1, consumer="holds")
    client.xgroup_createconsumer(stream, GROUP, "empty")
    notes = Notes()

    def handler(message):
        raise RuntimeError("try again much later")

    with running(Worker(client, stream, GROUP, handler, consumer="me", retry_delay=30, observe=notes)):
        wait_until("it has failed", lambda: notes.ids("retry"))
    assert sorted(consumers(client, stream)) == ["empty", "holds", "me"]
    connection = Connection(client)
    forget_consumers(connection, stream, GROUP, idle=60)
    assert len(consumers(client, stream)) == 3
    forget_consumers(connection, stream, GROUP, idle=0)
    connection.close()
    assert sorted(consumers(client, stream)) == ["holds", "me"]
    assert pending(client, stream) == 2
