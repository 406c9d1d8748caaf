"""Fields are stored exactly, by what a value is and not by how its class prints it; anything else is refused."""

import enum
from decimal import Decimal

import pytest

from streamlab.queue import Producer
from tests.waiting import wait_until


class Odd:
    def __str__(self):
        return "odd"

    __repr__ = __format__ = __str__


# Like numpy.float64, whose repr is "np.float64(1.5)", and numpy's text.
Double, Text, Bytes = (type("Odd", (Odd, kind), {}) for kind in (float, str, bytes))
Colour = enum.IntEnum("Colour", {"RED": 7})
Mixed = enum.Enum("Mixed", {"HIGH": "hög"}, type=str)  # prints itself as "Mixed.HIGH"

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


def test_stored_exactly_or_refused(q1):
    with q1.server.client(decode_responses=False) as client:
        producer, expected = Producer(client, q1.stream), []
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
        assert [fields for _, fields in client.xrange(q1.stream)] == expected
        seen = []
        with q1.running(lambda m: seen.append(m.fields)):
            wait_until("all are handled", lambda: len(seen) == len(expected))
    text = [
        {key.decode(errors="surrogateescape"): row[key].decode(errors="surrogateescape") for key in row}
        for row in expected
    ]
    assert seen == text


def test_two_messages_with_one_task_id_are_two_messages(q):
    producer = q.producer()
    ids = [producer.add({"n": n}, task_id="same") for n in range(2)]
    ids += producer.add_many({"n": n, "task_id": "same"} for n in range(2, 4))
    assert q.client.xrange(q.stream) == [(entry, {"task_id": "same", "n": str(n)}) for n, entry in enumerate(ids)]
