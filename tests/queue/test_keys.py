"""The key of the dead letters: in the stream's slot of a cluster, and never that of another stream and group."""

import itertools
import json

from redis import Redis
from redis.crc import key_slot

from streamlab.queue import DeadLetters, Worker
from tests.queue.helpers import GROUP, Queue, refuse, running
from tests.waiting import wait_until

NAMES = {"".join(some) for length in (1, 2) for some in itertools.product("{}:%a", repeat=length)}
NAMES |= {*"{a}b {}x a{b ü{x} {a} a:b {a}:b %3A {{a}} dead {a}::b:dead a:a".split(), "s s", " "}  # noqa: SIM905


def test_the_key_is_in_the_streams_slot_and_no_two_pairs_of_stream_and_group_share_one():
    nowhere = Redis(port=1)  # never connected

    def key(stream, group):
        return DeadLetters(nowhere, stream, group).key

    names = NAMES | {key(stream, "group").partition(":")[0] for stream in NAMES}  # also those that look like a key
    pairs = list(itertools.product(names, names))
    keys = list(itertools.starmap(key, pairs))
    assert len({*keys, *names}) == len(pairs) + len(names)
    assert [key_slot(key.encode()) for key in keys] == [key_slot(stream.encode()) for stream, _ in pairs]


def test_dead_letters_of_two_queues_with_similar_names(q1):
    for name, group in [(q1.stream, "b:c"), (f"{q1.stream}:b", "c")]:
        (entry,) = Queue(None, q1.client, name).add(1)
        letters = DeadLetters(q1.client, name, group)
        with running(Worker(q1.client, name, group, refuse)):
            wait_until("it is dead-lettered", lambda letters=letters: len(letters) > 0)
        assert [letter.message.id for letter in letters.read()] == [entry]
        letters.close()


def add_old(client, stream, number):
    """Add a dead letter as version 0.1 did."""
    failure = json.dumps({"delivery": 1, "consumer": "c", "at": 1.5, "error": "ValueError: no"})
    head = {"failures": failure, "id": f"{number}-1", "reason": "permanent", "error": "PermanentError: no"}
    head |= {"deliveries": "2", "consumer": "c", "buried_at": "2.5"}
    return client.xadd(f"{stream}:{GROUP}:dead", {**head, "task_id": f"t{number}", "n": number})


def test_dead_letters_under_the_old_key(q1):
    first, second = add_old(q1.client, q1.stream, 1), add_old(q1.client, q1.stream, 2)
    q1.add(1)
    with q1.running(refuse):
        wait_until("a new one is dead-lettered", lambda: len(q1.letters) == 3)
    third = add_old(q1.client, q1.stream, 3)
    read = q1.letters.read()
    assert [letter.id for letter in read if letter.consumer == "c"] == [first, second, third]
    assert [letter.consumer == "c" for letter in read] == [True, True, False, True], "by age, whichever key it has"
    assert [letter.id for letter in q1.letters.read(after=first, count=1)] == [second]
    old = read[0]
    assert (old.message.id, old.message.fields) == ("1-1", {"task_id": "t1", "n": "1"})
    assert (old.reason, old.error, old.message.deliveries) == ("permanent", "PermanentError: no", 2)
    assert (old.consumer, old.buried_at) == ("c", 2.5)
    assert [failure["error"] for failure in old.failures] == ["ValueError: no"]
    (new,) = q1.letters.redrive(first)
    assert q1.client.xrange(q1.stream, new, new)[0][1] == {"task_id": "t1", "n": "1"}
    assert q1.letters.redrive(first) == []
    assert q1.letters.discard(second, third) == 2
    assert len(q1.letters) == 1
