"""Fields are stored exactly, by what a value is and not by how its class prints it; anything else is refused."""

import enum
from decimal import Decimal

import pytest

from streamlab.queue import Producer, Worker
from tests.queue.helpers import GROUP, running
from tests.waiting import wait_until


class Odd:
    def __str__(self):
        return "odd"

    __repr__ = __format__ = __str__


class Double(Odd, float):
    """Like numpy.float64, whose repr is "np.float64(1.5)"."""


class Text(Odd, str):
    pass


class Bytes(Odd, bytes):
    pass


class Colour(enum.IntEnum):
    RED = 7


class Tone(enum.StrEnum):
    LOW = "låg"


class Mixed(str, enum.Enum):  # noqa: UP042 - prints itself as "Mixed.HIGH"
    HIGH = "high"


EXACT = [
    (Double(1.5), b"1.5"),
    (Double(1e300), b"1e+300"),
    (Colour.RED, b"7"),
    (Tone.LOW, "låg".encode()),
    (Mixed.HIGH, b"high"),
    (Text("text"), b"text"),
    (Text("für"), "für".encode()),
    (Bytes(b"\xff\0"), b"\xff\0"),
    (-(2**70), str(-(2**70)).encode()),
    (0.1, b"0.1"),
    ("", b""),
]


@pytest.fixture
def producer(client_of_any, any_stream):
    producer = Producer(client_of_any, any_stream)
    yield producer
    producer.close()


def raw(server, stream):
    with server.client(decode_responses=False) as client:
        return [fields for _, fields in client.xrange(stream)]


@pytest.mark.parametrize(("value", "stored"), EXACT, ids=range(len(EXACT)))
def test_stored_exactly_as_value_and_as_name(any_server, any_stream, producer, value, stored):
    producer.add({"a": value}, task_id="t")
    producer.add_many([{"task_id": "t", value: "b"}])
    assert raw(any_server, any_stream) == [{b"task_id": b"t", b"a": stored}, {b"task_id": b"t", stored: b"b"}]


WRONG = [
    *(("value", value) for value in (True, None, [1], {"a": 1}, Decimal("1.5"), bytearray(b"x"))),
    *(("name", value) for value in (True, None, Decimal("1.5"), ("a",))),
    *(("task_id", value) for value in (True, [1], Decimal("1.5"))),
]


@pytest.mark.parametrize(("where", "value"), WRONG, ids=[f"{where} {value!r}" for where, value in WRONG])
def test_what_is_no_text_bytes_or_number_is_refused(any_server, any_stream, producer, value, where):
    fields = {value: "x"} if where == "name" else {"a": value} if where == "value" else {"a": 1}
    with pytest.raises(TypeError):
        producer.add(fields, task_id=value if where == "task_id" else None)
    assert raw(any_server, any_stream) == []
    producer.add({"a": "next"}, task_id="t")
    assert raw(any_server, any_stream) == [{b"task_id": b"t", b"a": b"next"}]


def test_surrogates_are_the_bytes_that_they_stand_for(any_server, client_of_any, any_stream, producer):
    producer.add({"\udcff\udc80": "a\udcfe"}, task_id="t")
    assert raw(any_server, any_stream) == [{b"task_id": b"t", b"\xff\x80": b"a\xfe"}]
    seen = []
    with running(Worker(client_of_any, any_stream, GROUP, lambda m: seen.append(m.fields))):
        wait_until("it is handled", lambda: seen)
    assert seen == [{"task_id": "t", "\udcff\udc80": "a\udcfe"}]


@pytest.mark.parametrize("fields", [{"a": "\ud83d"}, {"\ud83d": "a"}])
def test_a_lone_high_surrogate_stands_for_no_byte(any_server, any_stream, producer, fields):
    with pytest.raises((TypeError, ValueError)):
        producer.add(fields)
    assert raw(any_server, any_stream) == []
    producer.add({"a": "next"})
    assert len(raw(any_server, any_stream)) == 1


def test_two_messages_with_one_task_id_are_two_messages(client, stream):
    producer = Producer(client, stream)
    ids = [producer.add({"n": n}, task_id="same") for n in range(2)]
    ids += producer.add_many({"n": n, "task_id": "same"} for n in range(2, 4))
    producer.close()
    assert client.xrange(stream) == [(entry, {"task_id": "same", "n": str(n)}) for n, entry in enumerate(ids)]
