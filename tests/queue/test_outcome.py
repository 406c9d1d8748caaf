"""What becomes of a message that failed, or whose workers died: it is tried again, and in the end it is buried."""

import time

from streamlab.queue import DeadLetters, PermanentError, Worker
from tests.at_hand import keys_of
from tests.queue.helpers import GROUP, Notes, add, pending, running, strand
from tests.waiting import wait_until


def test_a_failure_is_tried_again_soon_and_counted(client, stream):
    (entry,) = add(client, stream, 1)
    attempts, notes = [], Notes()

    def handler(message):
        attempts.append((time.monotonic(), message.deliveries))
        if len(attempts) < 3:
            raise RuntimeError("not yet")

    with running(Worker(client, stream, GROUP, handler, claim_after=30, retry_delay=0.1, observe=notes)):
        wait_until("the third attempt is acknowledged", lambda: notes.ids("acked") == [entry])
    assert [deliveries for _, deliveries in attempts] == [1, 2, 3]
    assert attempts[1][0] - attempts[0][0] >= 0.1
    assert attempts[2][0] - attempts[1][0] >= 0.2
    assert keys_of(client, stream) == [stream], "the record of the failures went with the success"


def test_after_too_many_deliveries_a_message_is_buried_with_its_history(client, stream):
    ids = add(client, stream, 3, **{"reason": "mine", "failures": "mine too"})

    def handler(message):
        if message.id == ids[1]:
            raise RuntimeError(f"attempt {message.deliveries}\nfailed")

    with running(Worker(client, stream, GROUP, handler, max_deliveries=3, retry_delay=0.02, consumer="me")):
        letters = DeadLetters(client, stream, GROUP)
        wait_until("it is buried", lambda: len(letters) == 1)
    (letter,) = letters.read()
    assert pending(client, stream) == 0
    assert (letter.reason, letter.consumer) == ("deliveries", "me")
    assert letter.error == "RuntimeError: attempt 3 failed"
    assert letter.message.id == ids[1]
    assert letter.message.deliveries == 3
    assert letter.message.fields["reason"] == "mine", "a message cannot forge the head of its letter"
    assert [failure["delivery"] for failure in letter.failures] == [1, 2, 3]
    (new,) = letters.redrive(letter.id)
    assert letters.redrive(letter.id) == []
    assert len(letters) == 0
    assert client.xrange(stream, new, new)[0][1] == letter.message.fields
    letters.close()


def test_a_permanent_error_is_buried_at_once(client, stream):
    add(client, stream, 1)
    calls = []

    def handler(message):
        calls.append(message.id)
        raise PermanentError("no such image")

    letters = DeadLetters(client, stream, GROUP)
    with running(Worker(client, stream, GROUP, handler)):
        wait_until("it is buried", lambda: len(letters) == 1)
    (letter,) = letters.read()
    assert (letter.reason, letter.error, len(calls)) == ("permanent", "PermanentError: no such image", 1)
    assert letters.discard(letter.id) == 1
    letters.close()


def test_a_message_that_kills_its_workers_is_buried_without_being_run(client, stream, group):
    add(client, stream, 1)
    (entry,) = strand(client, stream, 1)
    for number in range(3):
        client.xclaim(stream, GROUP, f"dead-{number}", 0, [entry])
    calls = []
    letters = DeadLetters(client, stream, GROUP)
    with running(Worker(client, stream, GROUP, calls.append, claim_after=0.1, max_deliveries=4)):
        wait_until("it is buried", lambda: len(letters) == 1)
    (letter,) = letters.read()
    letters.close()
    assert calls == []
    assert (letter.reason, letter.error, letter.message.deliveries) == ("deliveries", "", 5)


def test_threads_that_bury_without_running_keep_their_places(client, stream, group):
    """Twelve messages that killed their workers, two threads: each buried one gives its place back."""
    add(client, stream, 12)
    entries = strand(client, stream, 12)
    client.xclaim(stream, GROUP, "dead again", 0, entries)
    letters, notes = DeadLetters(client, stream, GROUP), Notes()
    with running(Worker(client, stream, GROUP, print, claim_after=0.1, max_deliveries=2, threads=2, observe=notes)):
        wait_until("all are buried", lambda: len(letters) == 12)
        (late,) = add(client, stream, 1)
        wait_until("there is still a place for the next", lambda: notes.ids("acked") == [late])
    letters.close()


def test_threads_retry_and_bury(client, stream):
    ids = add(client, stream, 30)
    letters, notes = DeadLetters(client, stream, GROUP), Notes()

    def handler(message):
        if message.id == ids[3]:
            raise PermanentError("never")
        if message.id == ids[7] and message.deliveries < 3:
            raise RuntimeError("later")

    with running(Worker(client, stream, GROUP, handler, threads=4, retry_delay=0.02, observe=notes)):
        wait_until("29 are acknowledged", lambda: len(notes.ids("acked")) == 29)
        wait_until("one is buried", lambda: len(letters) == 1)
    letters.close()
    assert pending(client, stream) == 0
