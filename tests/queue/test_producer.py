"""Adding: what was added is known exactly, or declared unknown."""

import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from streamlab.queue import Message, NotSentError, OutcomeUnknownError, Producer, RefusedError
from tests.queue.helpers import wired


def test_adding_one_and_many_in_order_each_with_its_own_task_id(client, stream):
    producer = Producer(client, stream)
    ids = [producer.add({"n": "a"}), producer.add({"n": "b"}, task_id="mine")]
    ids += producer.add_many({"n": n} for n in range(1234))
    producer.close()
    rows = client.xrange(stream)
    assert [entry for entry, _ in rows] == ids
    assert [fields["n"] for _, fields in rows] == ["a", "b", *map(str, range(1234))]
    assert rows[1][1] == {"task_id": "mine", "n": "b"}
    assert len({fields["task_id"] for _, fields in rows}) == len(rows)


def test_a_key_of_another_type_is_refused(client, stream):
    client.set(stream, "text")
    producer = Producer(client, stream)
    for attempt in (lambda: producer.add({"n": 1}), lambda: producer.add_many([{"n": 1}, {"n": 2}])):
        with pytest.raises(RefusedError, match="WRONGTYPE") as caught:
            attempt()
        assert caught.value.added == []
    producer.close()


def test_no_server_means_nothing_was_sent():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    producer = Producer(Redis(port=port), "s", patience=0.1)
    with pytest.raises(NotSentError):
        producer.add({"n": 1})


@pytest.mark.parametrize("many", [False, True])
def test_a_lost_reply_does_not_pass_unnoticed(server, client, stream, many):
    with wired(server) as (wire, through):
        producer = Producer(through, stream)
        producer.add({"n": "first"})
        count = 450 if many else 1  # many: more than a server remembers of one producer
        wire.cut_replies(b"XADD", 2)
        rows = [{"n": n} for n in range(count)]
        if "idmp" in server.features:
            ids = producer.add_many(rows)
            assert wire.cuts == 2
            assert [row[0] for row in client.xrange(stream)][1:] == ids
        else:
            with pytest.raises(OutcomeUnknownError) as caught:
                producer.add_many(rows) if many else producer.add(rows[0])
            assert wire.cuts == 1
            assert caught.value.added == []
            there = [fields["task_id"] for _, fields in client.xrange(stream)][1:]
            assert caught.value.unknown == there  # this time they are there; the producer could not know
        producer.close()
        assert client.xlen(stream) == 1 + len(rows)


def test_chunks_before_a_lost_reply_are_told(server, client, stream):
    if "idmp" in server.features:
        return  # nothing gets lost there; shown above
    with wired(server) as (wire, through):
        producer = Producer(through, stream)
        rows = ({"n": n} if n < 700 else wire.cut_replies(b"XADD", 1) or {"n": n} for n in range(900))
        with pytest.raises(OutcomeUnknownError) as caught:
            producer.add_many(rows)
        producer.close()
    assert len(caught.value.added) == 500
    assert len(caught.value.unknown) == 400
    assert caught.value.added == [entry for entry, _ in client.xrange(stream, count=500)]


def test_out_of_memory_adds_all_of_a_chunk_or_none(any_server, client_of_any, any_stream):
    client, stream = client_of_any, any_stream
    before = client.config_get("maxmemory")["maxmemory"]
    producer = Producer(client, stream)
    producer.add({"n": "first"})
    # Room for some of the chunk: one by one, the first of these 500 would be added and the others refused.
    client.config_set("maxmemory", int(client.info("memory")["used_memory"]) + 300_000)
    try:
        with pytest.raises(RefusedError) as caught:
            producer.add_many({"payload": "x" * 2000} for _ in range(500))
    finally:
        client.config_set("maxmemory", before)
    producer.close()
    assert (caught.value.added, client.xlen(stream)) == ([], 1)


def test_trimming_spares_what_a_group_still_needs(client, stream):
    producer = Producer(client, stream, keep=0)
    producer.add_many({"n": n} for n in range(300))
    assert client.xlen(stream) == 300, "without a group nothing is trimmed"
    client.xtrim(stream, maxlen=0, approximate=False)
    client.xgroup_create(stream, "slow", id="0", mkstream=True)
    client.xgroup_create(stream, "quick", id="0")
    ids = producer.add_many({"n": n} for n in range(100))
    assert client.xlen(stream) == 100, "no group has read anything"
    for group, count in (("slow", 60), ("quick", 100)):
        client.xreadgroup(group, "c", {stream: ">"}, count=count)
    client.xack(stream, "quick", *ids)
    client.xack(stream, "slow", *ids[:20], *ids[21:60])
    producer.add_many({"n": n} for n in range(100))
    producer.close()
    left = [entry for entry, _ in client.xrange(stream)]
    assert left[0] in ids[19:21], "entry 20 is pending for the slow group"
    assert len(left) >= 180


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.one_of(st.binary(), TEXT, st.integers(), st.floats(allow_nan=False))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=st.dictionaries(TEXT, VALUES, max_size=8))
def test_what_goes_in_comes_out(any_server, any_stream, fields):
    """Also bytes that are no UTF-8: as surrogates, which the producer takes back."""
    with any_server.client(decode_responses=False) as client:
        producer = Producer(client, any_stream)
        raw = list(client.xrange(any_stream, entry := producer.add(fields, task_id="t"), entry)[0][1].items())
        message = Message(entry.encode(), [part for pair in raw for part in pair])
        again = client.xrange(any_stream, entry := producer.add(message.fields), entry)[0][1]
        producer.close()
    assert list(again.items()) == raw
    for name, value in fields.items():
        got = message.fields[name].encode("utf-8", "surrogateescape")
        want = value if isinstance(value, bytes) else str(value).encode()
        assert got == want or float(got) == float(want)
