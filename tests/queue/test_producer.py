"""Adding: what was added is known exactly, or declared unknown."""

import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from streamlab.queue import Message, NotSentError, OutcomeUnknownError, Producer, RefusedError
from tests.queue.helpers import wired


def test_adding_one_and_many_in_order_each_with_its_own_task_id(q):
    producer = q.producer()
    ids = [producer.add({"n": "a"}), producer.add({"n": "b"}, task_id="mine")]
    ids += producer.add_many({"n": n} for n in range(1234))
    rows = q.client.xrange(q.stream)
    assert [entry for entry, _ in rows] == ids
    assert [fields["n"] for _, fields in rows] == ["a", "b", *map(str, range(1234))]
    assert rows[1][1] == {"task_id": "mine", "n": "b"}
    assert len({fields["task_id"] for _, fields in rows}) == len(rows)


def test_a_key_of_another_type_is_refused(q):
    q.client.set(q.stream, "text")
    producer = q.producer()
    for attempt in (lambda: producer.add({"n": 1}), lambda: producer.add_many([{"n": 1}, {"n": 2}])):
        with pytest.raises(RefusedError, match="WRONGTYPE") as caught:
            attempt()
        assert caught.value.added == []


def test_no_server_means_nothing_was_sent():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    producer = Producer(Redis(port=port), "s", patience=0.1)
    with pytest.raises(NotSentError):
        producer.add({"n": 1})


@pytest.mark.parametrize("many", [False, True])
def test_a_lost_reply_does_not_pass_unnoticed(q, many):
    with wired(q.server) as (wire, through):
        producer = Producer(through, q.stream)
        producer.add({"n": "first"})
        count = 450 if many else 1  # many: more than a server remembers of one producer
        wire.cut_replies(b"XADD", 2)
        rows = [{"n": n} for n in range(count)]
        if "idmp" in q.server.features:
            ids = producer.add_many(rows)
            assert wire.cuts == 2
            assert [row[0] for row in q.client.xrange(q.stream)][1:] == ids
        else:
            with pytest.raises(OutcomeUnknownError) as caught:
                producer.add_many(rows) if many else producer.add(rows[0])
            assert wire.cuts == 1
            assert caught.value.added == []
            there = [fields["task_id"] for _, fields in q.client.xrange(q.stream)][1:]
            assert caught.value.unknown == there  # this time they are there; the producer could not know
        producer.close()
        assert q.client.xlen(q.stream) == 1 + len(rows)


def test_chunks_before_a_lost_reply_are_told(q):
    if "idmp" in q.server.features:
        return  # nothing gets lost there; shown above
    with wired(q.server) as (wire, through):
        producer = Producer(through, q.stream)
        rows = ({"n": n} if n < 700 else wire.cut_replies(b"XADD", 1) or {"n": n} for n in range(900))
        with pytest.raises(OutcomeUnknownError) as caught:
            producer.add_many(rows)
        producer.close()
    assert len(caught.value.added) == 500
    assert len(caught.value.unknown) == 400
    assert caught.value.added == [entry for entry, _ in q.client.xrange(q.stream, count=500)]


def test_out_of_memory_adds_all_of_a_chunk_or_none(q1):
    before = q1.client.config_get("maxmemory")["maxmemory"]
    producer = q1.producer()
    producer.add({"n": "first"})
    # Room for some of the chunk: one by one, the first of these 500 would be added and the others refused.
    q1.client.config_set("maxmemory", int(q1.client.info("memory")["used_memory"]) + 300_000)
    try:
        with pytest.raises(RefusedError) as caught:
            producer.add_many({"payload": "x" * 2000} for _ in range(500))
    finally:
        q1.client.config_set("maxmemory", before)
    assert (caught.value.added, q1.client.xlen(q1.stream)) == ([], 1)


def test_trimming_spares_what_a_group_still_needs(q):
    producer = q.producer(keep=0)
    producer.add_many({"n": n} for n in range(300))
    assert q.client.xlen(q.stream) == 300, "without a group nothing is trimmed"
    q.client.xtrim(q.stream, maxlen=0, approximate=False)
    counts = {"quick": 100, "slow": 60, "zealous": 100}
    for group in counts:
        q.client.xgroup_create(q.stream, group, id="0", mkstream=True)
    ids = producer.add_many({"n": n} for n in range(100))
    assert q.client.xlen(q.stream) == 100, "no group has read anything"
    for group, count in counts.items():
        q.client.xreadgroup(group, "c", {q.stream: ">"}, count=count)
        q.client.xack(q.stream, group, *(ids if group != "slow" else ids[:20] + ids[21:60]))
    producer.add_many({"n": n} for n in range(100))
    left = [entry for entry, _ in q.client.xrange(q.stream)]
    assert left[0] in ids[19:21], "entry 20 is pending for the slow group"
    assert len(left) >= 180


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.one_of(st.binary(), TEXT, st.integers(), st.floats(allow_nan=False))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=st.dictionaries(TEXT, VALUES, max_size=8))
def test_what_goes_in_comes_out(q1, fields):
    """Also bytes that are no UTF-8: as surrogates, which the producer takes back."""
    with q1.server.client(decode_responses=False) as q1.client:
        producer = q1.producer()
        raw = list(q1.client.xrange(q1.stream, entry := producer.add(fields, task_id="t"), entry)[0][1].items())
        message = Message(entry.encode(), [part for pair in raw for part in pair])
        again = q1.client.xrange(q1.stream, entry := producer.add(message.fields), entry)[0][1]
        producer.close()
    assert list(again.items()) == raw
    for name, value in fields.items():
        got = message.fields[name].encode("utf-8", "surrogateescape")
        want = value if isinstance(value, bytes) else str(value).encode()
        assert got == want or float(got) == float(want)
