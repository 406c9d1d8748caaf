"""When a worker looks for what others left behind, and what it finds."""

import threading
import time

import pytest

from streamlab.queue.connection import Connection
from streamlab.queue.recovery import Recovery
from tests.queue.helpers import GROUP
from tests.waiting import wait_until


def test_a_redis_that_stood_still_is_asked_again_soon(q1):
    """The answer took long, and not the search: to rest twenty times as long would leave the dead unclaimed."""
    q1.make_group()
    connection = Connection(q1.client)
    recovery = Recovery(connection, q1.worker(claim_after=1.0)._settings())
    recovery.step(10)  # connects
    q1.client.client_pause(400, all=True)
    before = time.monotonic()
    recovery.step(10)
    assert time.monotonic() - before > 0.2, "it waited for the answer"
    assert recovery.wait(claims=False) < 0.5
    connection.close()


def test_stale_entries_are_claimed_under_steady_load(q1):
    """A worker that looks for them only when nothing new arrives would never look here."""
    q1.make_group()
    q1.add(10)
    lost = set(q1.strand(10))
    stop = threading.Event()

    def load():
        producer = q1.producer()
        while not stop.is_set():
            producer.add_many({"n": n} for n in range(20))

    thread = threading.Thread(target=load)
    thread.start()
    try:
        with q1.running(claim_after=0.3):
            wait_until("the dead worker's are done", lambda: lost <= set(q1.notes.ids("acked")))
            assert len(q1.notes.ids("read")) > 0
    finally:
        stop.set()
        thread.join()
    assert set(q1.notes.ids("claimed")) >= lost


def test_new_messages_get_their_turn_beside_many_that_are_stranded(q1):
    q1.make_group()
    q1.add(400)
    stranded = q1.strand(400)
    order, new = [], []

    def handler(message):
        order.append(message.id)
        if len(order) == 20:
            new.extend(q1.add(1))
        time.sleep(0.002)  # the work

    wait_until("they are idle", lambda: q1.client.xpending_range(q1.stream, GROUP, "-", "+", 1, idle=60))
    with q1.running(handler, claim_after=0.05):
        wait_until("all are done", lambda: len(set(order)) == 401)
    assert set(order) == {*stranded, *new}
    assert order.index(new[0]) < 300, "it did not wait for all that was stranded"


def test_recovery_follows_the_cursor_past_entries_that_are_fresh(q):
    """One stale entry behind 200 that another consumer keeps fresh."""
    q.make_group()
    ids = q.add(201)
    fresh = q.strand(200, consumer="busy")
    q.strand(1, consumer="dead")
    with q.running(claim_after=0.4, batch=1):

        def found():
            q.client.xclaim(q.stream, GROUP, "busy", 0, fresh, justid=True)
            return q.notes.ids("claimed")

        wait_until("the stale one is claimed", found)
        assert set(q.notes.ids("claimed")) == {ids[-1]}


@pytest.mark.parametrize("whose", ["dead", "me"])
def test_pending_entries_of_which_some_were_deleted(q, whose):
    """Those of a dead worker, and the worker's own of an earlier life, which it takes at once."""
    q.make_group()
    ids = q.add(6)
    q.strand(4, whose)
    q.client.xdel(q.stream, *ids[:2])
    seen = []
    with q.running(
        lambda m: seen.append((m.id, m.deliveries)), consumer="me", claim_after=0.1 if whose == "dead" else 30
    ):
        wait_until("the others are done", lambda: len(q.notes.ids("acked")) == 4)
        wait_until("nothing is pending", lambda: q.pending() == 0)
    assert set(q.notes.ids("deleted")) == set(ids[:2])
    assert sorted(seen) == [(ids[2], 2), (ids[3], 2), (ids[4], 1), (ids[5], 1)]
    if whose == "me":
        assert [entry for entry, _ in seen] == ids[2:], "its own come first"
