"""Large messages, and servers that limit what they buffer; messages of many fields."""

import pytest

from streamlab.queue import Producer, RefusedError
from streamlab.servers import ProcessServer
from tests.queue.helpers import Queue, refuse
from tests.waiting import wait_until

TOO_MUCH = 40_000_000  # bytes: more than a kernel takes before the server has refused them
LIMITS = {
    "client-output-buffer-limit": "normal 20mb 0 0",
    "client-query-buffer-limit": "10mb",
    "proto-max-bulk-len": "4mb",
}


@pytest.fixture(scope="module")
def narrow():
    with ProcessServer(settings=LIMITS) as server, server.client() as client:
        yield client


@pytest.fixture
def producer(narrow):
    narrow.flushall()
    producer = Producer(narrow, "s", patience=3)
    yield producer
    producer.close()


def test_replies_stay_below_the_output_buffer_limit(narrow, producer, threads):
    ids = [producer.add({"blob": b"x" * 2_000_000}) for _ in range(40)]
    q = Queue(None, narrow, "s")
    with q.running(threads=threads):
        wait_until("all are handled", lambda: set(q.seen) == set(ids), timeout=20)
        wait_until("nothing is pending", lambda: q.pending() == 0)


def test_requests_stay_below_the_query_buffer_limit_or_are_refused(narrow, producer):
    ids = producer.add_many({"n": n, "blob": b"x" * 1_000_000} for n in range(30))
    assert len(set(ids)) == narrow.xlen("s") == 30
    with pytest.raises(RefusedError) as caught:
        producer.add({"blob": b"x" * TOO_MUCH})
    assert caught.value.added == []
    with pytest.raises(RefusedError) as caught:
        producer.add_many([{"n": 1}, {"blob": b"x" * TOO_MUCH}, {"n": 2}])
    producer.add({"n": "next"})
    assert narrow.xlen("s") == 30 + len(caught.value.added) + 1


def test_a_message_of_many_fields_is_dead_lettered_and_redriven(q):
    fields = {f"name {n}": f"value {n}" for n in range(20_000)}
    entry = q.client.xadd(q.stream, fields)
    with q.running(refuse):
        wait_until("it is dead-lettered", lambda: len(q.letters) == 1)
    (letter,) = q.letters.read()
    assert (letter.message.id, list(letter.message.fields.items())) == (entry, list(fields.items()))
    (new,) = q.letters.redrive(letter.id)
    assert list(q.client.xrange(q.stream, new, new)[0][1].items()) == list(fields.items())
    assert len(q.letters) == 0
