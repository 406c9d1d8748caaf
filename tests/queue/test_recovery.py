"""When a worker looks for what others left behind, and what it finds."""

import threading
import time

import pytest

from streamlab.queue import Producer, Worker
from streamlab.queue.connection import Connection
from streamlab.queue.recovery import Recovery
from tests.queue.helpers import GROUP, Notes, add, pending, running, strand
from tests.waiting import wait_until


def test_a_redis_that_stood_still_is_asked_again_soon(client_of_any, any_stream):
    """The answer took long, and not the search: to rest twenty times as long would leave the dead unclaimed."""
    client_of_any.xgroup_create(any_stream, "g", id="0", mkstream=True)
    connection = Connection(client_of_any)
    recovery = Recovery(connection, Worker(client_of_any, any_stream, "g", print, claim_after=1.0)._settings())
    recovery.step(10)  # connects
    client_of_any.client_pause(400, all=True)
    before = time.monotonic()
    recovery.step(10)
    assert time.monotonic() - before > 0.2, "it waited for the answer"
    assert recovery.wait(claims=False) < 0.5
    connection.close()


def test_stale_entries_are_claimed_under_steady_load(client, stream, group):
    """A worker that looks for them only when nothing new arrives would never look here."""
    add(client, stream, 10)
    lost = set(strand(client, stream, 10))
    notes, stop = Notes(), threading.Event()

    def load():
        producer = Producer(client, stream)
        while not stop.is_set():
            producer.add_many({"n": n} for n in range(20))
        producer.close()

    thread = threading.Thread(target=load)
    thread.start()
    try:
        with running(Worker(client, stream, GROUP, lambda m: None, claim_after=0.3, observe=notes)):
            wait_until("the dead worker's are done", lambda: lost <= set(notes.ids("acked")))
            assert len(notes.ids("read")) > 0
    finally:
        stop.set()
        thread.join()
    assert set(notes.ids("claimed")) >= lost


def test_new_messages_get_their_turn_beside_many_that_are_stranded(client_of_any, any_stream):
    client, stream = client_of_any, any_stream
    client.xgroup_create(stream, GROUP, id="0", mkstream=True)
    add(client, stream, 400)
    stranded = strand(client, stream, 400)
    order, new = [], []

    def handler(message):
        order.append(message.id)
        if len(order) == 20:
            new.extend(add(client, stream, 1))
        time.sleep(0.002)  # the work

    wait_until("they are idle", lambda: client.xpending_range(stream, GROUP, "-", "+", 1, idle=60))
    with running(Worker(client, stream, GROUP, handler, claim_after=0.05)):
        wait_until("all are done", lambda: len(set(order)) == 401)
    assert set(order) == {*stranded, *new}
    assert order.index(new[0]) < 300, "it did not wait for all that was stranded"


def test_recovery_follows_the_cursor_past_entries_that_are_fresh(client, stream, group):
    """One stale entry behind 200 that another consumer keeps fresh."""
    ids = add(client, stream, 201)
    fresh = strand(client, stream, 200, consumer="busy")
    strand(client, stream, 1, consumer="dead")
    notes = Notes()
    with running(Worker(client, stream, GROUP, lambda m: None, claim_after=0.4, batch=1, observe=notes)):

        def found():
            client.xclaim(stream, GROUP, "busy", 0, fresh, justid=True)
            return notes.ids("claimed")

        wait_until("the stale one is claimed", found)
        assert set(notes.ids("claimed")) == {ids[-1]}


@pytest.mark.parametrize("whose", ["dead", "me"])
def test_pending_entries_of_which_some_were_deleted(client, stream, group, whose):
    """Those of a dead worker, and the worker's own of an earlier life, which it takes at once."""
    ids = add(client, stream, 6)
    strand(client, stream, 4, whose)
    client.xdel(stream, *ids[:2])
    seen, notes = [], Notes()
    worker = Worker(
        client, stream, GROUP, lambda m: seen.append((m.id, m.deliveries)),
        consumer="me", claim_after=0.1 if whose == "dead" else 30, observe=notes,
    )  # fmt: skip
    with running(worker):
        wait_until("the others are done", lambda: len(notes.ids("acked")) == 4)
        wait_until("nothing is pending", lambda: pending(client, stream) == 0)
    assert set(notes.ids("deleted")) == set(ids[:2])
    assert sorted(seen) == [(ids[2], 2), (ids[3], 2), (ids[4], 1), (ids[5], 1)]
    if whose == "me":
        assert [entry for entry, _ in seen] == ids[2:], "its own come first"
