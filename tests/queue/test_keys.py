"""The key of the dead letters: in the stream's slot of a cluster, and never that of another stream and group."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import Redis
from redis.crc import key_slot

from streamlab.queue import DeadLetters, PermanentError, Worker
from tests.queue.helpers import GROUP, add, running
from tests.waiting import wait_until

NOWHERE = Redis(port=1)  # never connected
NASTY = "s s: :s {a}b a}b {}x a{b ü{x} {a} a a:b {a}:b a} { } {} }{ % %3A {{a}} dead {a}::b:dead".split()  # noqa: SIM905


def key(stream, group):
    return DeadLetters(NOWHERE, stream, group).key


@pytest.mark.parametrize("stream", NASTY)
def test_the_key_is_in_the_slot_of_the_stream(stream):
    for group in NASTY:
        assert key_slot(key(stream, group).encode()) == key_slot(stream.encode())


def test_no_two_pairs_of_stream_and_group_share_a_key():
    pairs = list(itertools.product(NASTY, NASTY))
    assert len({key(*pair) for pair in pairs} | set(NASTY)) == len(pairs) + len(NASTY)


@settings(deadline=None)  # a name with a brace looks for a number in its slot, up to 0.1 s
@given(text=st.text(alphabet="{}:%ab3Aü", min_size=3, max_size=9))
def test_keys_of_names_that_are_cut_at_different_places(text):
    places = range(1, len(text) - 1)
    pairs = {(text[:i], text[i + skipped :]) for i in places for skipped in (0, 1)}
    assert len({key(*pair) for pair in pairs}) == len(pairs)
    assert all(key_slot(key(stream, group).encode()) == key_slot(stream.encode()) for stream, group in pairs)


def test_dead_letters_of_two_queues_with_similar_names(client, stream):
    queues = [(stream, "b:c"), (f"{stream}:b", "c")]

    def refuse(message):
        raise PermanentError("no")

    for name, group in queues:
        (entry,) = add(client, name, 1, queue=name)
        letters = DeadLetters(client, name, group)
        with running(Worker(client, name, group, refuse)):
            wait_until("it is dead-lettered", lambda letters=letters: len(letters) > 0)
        assert [letter.message.id for letter in letters.read()] == [entry]
        letters.close()
    first = DeadLetters(client, *queues[0])
    assert [letter.message.fields["queue"] for letter in first.read()] == [stream]
    first.close()


def add_old(client, stream, number):
    """Add a dead letter as version 0.1 did."""
    failure = json.dumps({"delivery": 1, "consumer": "c", "at": 1.5, "error": "ValueError: no"})
    head = {"failures": failure, "id": f"{number}-1", "reason": "permanent", "error": "PermanentError: no"}
    head |= {"deliveries": "2", "consumer": "c", "buried_at": "2.5"}
    return client.xadd(f"{stream}:{GROUP}:dead", {**head, "task_id": f"t{number}", "n": number})


def test_dead_letters_under_the_old_key(client_of_any, any_stream):
    client, stream = client_of_any, any_stream
    letters = DeadLetters(client, stream, GROUP)
    first, second = add_old(client, stream, 1), add_old(client, stream, 2)
    add(client, stream, 1)

    def refuse(message):
        raise PermanentError("new")

    with running(Worker(client, stream, GROUP, refuse)):
        wait_until("a new one is dead-lettered", lambda: len(letters) == 3)
    third = add_old(client, stream, 3)
    read = letters.read()
    assert [letter.id for letter in read if letter.error != "PermanentError: new"] == [first, second, third]
    assert [letter.error for letter in read].index("PermanentError: new") == 2, "by age, whichever key it has"
    assert [letter.id for letter in letters.read(after=first, count=1)] == [second]
    old = read[0]
    assert (old.message.id, old.message.fields) == ("1-1", {"task_id": "t1", "n": "1"})
    assert (old.reason, old.message.deliveries, old.consumer, old.buried_at) == ("permanent", 2, "c", 2.5)
    assert [failure["error"] for failure in old.failures] == ["ValueError: no"]
    (new,) = letters.redrive(first)
    assert client.xrange(stream, new, new)[0][1] == {"task_id": "t1", "n": "1"}
    assert letters.redrive(first) == []
    assert letters.discard(second, third) == 2
    assert len(letters) == 1
    letters.close()
