"""What becomes of a message that failed, or whose workers died: a retry, and in the end a dead letter."""

import time

from streamlab.queue import PermanentError
from tests.at_hand import keys_of
from tests.queue.helpers import GROUP, fail
from tests.waiting import wait_until


def test_a_failure_is_tried_again_soon_and_counted(q):
    (entry,) = q.add(1)
    attempts = []

    def handler(message):
        attempts.append((time.monotonic(), message.deliveries))
        if len(attempts) < 3:
            raise RuntimeError("not yet")

    with q.running(handler, claim_after=30, retry_delay=0.1):
        wait_until("the third attempt is acknowledged", lambda: q.notes.ids("acked") == [entry])
    assert [deliveries for _, deliveries in attempts] == [1, 2, 3]
    assert attempts[1][0] - attempts[0][0] >= 0.1
    assert attempts[2][0] - attempts[1][0] >= 0.2
    assert keys_of(q.client, q.stream) == [q.stream], "the record of the failures went with the success"


def test_a_broken_connection_does_not_bring_a_retry_forward(q1):
    (entry,) = q1.add(1)
    with q1.running(lambda m: fail(m) if m.id == entry else None, retry_delay=20):
        wait_until("it has failed", lambda: q1.notes.ids("retry"))
        q1.client.client_kill_filter(_type="normal", skipme=True)
        wait_until("the worker has connected again", lambda: q1.notes.ids("reconnected"))
        (late,) = q1.add(1)
        wait_until("the worker goes on", lambda: late in q1.notes.ids("acked"))
    assert q1.notes.ids("started") == [entry, late]


def test_dead_letters_with_their_history(q, threads):
    """Of 30 messages, one is permanent, one reaches the limit, one succeeds at the third attempt."""
    ids = q.add(30, **{"reason": "mine", "failures": "mine too"})
    permanent, always, twice = ids[3], ids[7], ids[11]
    attempts = []

    def handler(message):
        attempts.append(message.id)
        if message.id == permanent:
            raise PermanentError("no such image")
        if message.id == always or (message.id == twice and message.deliveries < 3):
            raise RuntimeError(f"attempt {message.deliveries}\nfailed")

    with q.running(handler, max_deliveries=3, retry_delay=0.02, consumer="me", threads=threads):
        wait_until("28 are acknowledged", lambda: len(q.notes.ids("acked")) == 28)
        wait_until("two are dead-lettered", lambda: len(q.letters) == 2)
    assert q.pending() == 0
    first, second = q.letters.read()
    assert (first.message.id, first.reason, first.consumer) == (permanent, "permanent", "me")
    assert first.error == "PermanentError: no such image"
    assert (second.message.id, second.reason, second.message.deliveries) == (always, "deliveries", 3)
    assert second.error == "RuntimeError: attempt 3 failed"
    assert [failure["delivery"] for failure in second.failures] == [1, 2, 3]
    assert [attempts.count(entry) for entry in (permanent, always, twice)] == [1, 3, 3]
    assert second.message.fields["reason"] == "mine", "a message cannot forge the head of its letter"
    (new,) = q.letters.redrive(second.id)
    assert q.letters.redrive(second.id) == []
    assert q.client.xrange(q.stream, new, new)[0][1] == second.message.fields
    assert (q.letters.discard(first.id), len(q.letters)) == (1, 0)


def test_messages_that_kill_their_workers_are_dead_lettered_without_being_run(q, threads):
    q.make_group()
    ids = q.add(12)
    q.strand(12)
    for number in range(3):
        q.client.xclaim(q.stream, GROUP, f"dead-{number}", 0, ids)
    with q.running(claim_after=0.1, max_deliveries=4, threads=threads):
        wait_until("all are dead-lettered", lambda: len(q.letters) == 12)
        (late,) = q.add(1)
        wait_until("the worker goes on", lambda: q.notes.ids("acked") == [late])
    assert q.notes.ids("started") == [late]
    assert [letter.message.id for letter in q.letters.read()] == ids
    heads = {(letter.reason, letter.error, letter.message.deliveries) for letter in q.letters.read()}
    assert heads == {("deliveries", "", 5)}


def test_a_limit_of_deliveries_holds_among_own_messages_that_wait(q):
    """Between 200 messages that wait for their retry are 200 that were delivered five times; the limit is three."""
    q.make_group()
    ids = q.add(400)
    q.strand(400)
    stranded, own = ids[::2], ids[1::2]
    q.client.xclaim(q.stream, GROUP, "dead", 0, stranded, idle=100_000, retrycount=5)
    q.client.xclaim(q.stream, GROUP, "me", 0, own, retrycount=1)
    with q.running(fail, consumer="me", claim_after=30, retry_delay=20, max_deliveries=3):
        wait_until("the stranded ones are dead-lettered", lambda: len(q.letters) >= 200)
        wait_until("the others wait", lambda: len(q.notes.ids("retry")) == 200)
    assert q.notes.ids("started") == q.notes.ids("retry") == own
    dead = q.letters.read(count=1000)
    assert sorted(letter.message.id for letter in dead) == sorted(stranded)
    assert {letter.reason for letter in dead} == {"deliveries"}
