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


class Mixed(str, enum.Enum):  # noqa: UP042 - prints itself as "Mixed.HIGH"
    HIGH = "hög"


EXACT = [
    (Double(1.5), b"1.5"),
    (Double(1e300), b"1e+300"),
    (Colour.RED, b"7"),
    (Mixed.HIGH, "hög".encode()),
    (Text("text"), b"text"),
    (Bytes(b"\xff\0"), b"\xff\0"),
    (-(2**70), str(-(2**70)).encode()),
    ("\udcff\udc80", b"\xff\x80"),  # surrogates, as Message.fields gives them, are the bytes that they stand for
    ("", b""),
]
WRONG = [
    *({"a": value} for value in (True, None, [1], {"a": 1}, Decimal("1.5"), bytearray(b"x"), "\ud83d")),
    *({name: "x"} for name in (True, None, Decimal("1.5"), ("a",), "\ud83d")),
]


def test_stored_exactly_or_refused(any_server, any_stream):
    with any_server.client(decode_responses=False) as client:
        producer, expected = Producer(client, any_stream), []
        for value, stored in EXACT:
            producer.add({"a": value}, task_id="t")
            producer.add_many([{"task_id": "t", value: "b"}])
            expected += [{b"task_id": b"t", b"a": stored}, {b"task_id": b"t", stored: b"b"}]
        for fields in WRONG:
            with pytest.raises((TypeError, UnicodeError), match=r"'a'|name of field|surrogates"):
                producer.add_many([{"n": 1}, fields])
        for task_id in (True, [1], Decimal("1.5")):
            with pytest.raises(TypeError, match="task_id"):
                producer.add({"a": 1}, task_id=task_id)
        producer.close()
        assert [fields for _, fields in client.xrange(any_stream)] == expected
        seen = []
        with running(Worker(client, any_stream, GROUP, lambda m: seen.append(m.fields))):
            wait_until("all are handled", lambda: len(seen) == len(expected))
    as_text = [[(name, value.decode(errors="surrogateescape")) for name, value in row.items()] for row in expected]
    assert seen == [{name.decode(errors="surrogateescape"): value for name, value in row} for row in as_text]


def test_two_messages_with_one_task_id_are_two_messages(client, stream):
    producer = Producer(client, stream)
    ids = [producer.add({"n": n}, task_id="same") for n in range(2)]
    ids += producer.add_many({"n": n, "task_id": "same"} for n in range(2, 4))
    producer.close()
    assert client.xrange(stream) == [(entry, {"task_id": "same", "n": str(n)}) for n, entry in enumerate(ids)]
