"""Where frames end, whatever the pieces in which their bytes come."""

import time
from contextlib import suppress
from itertools import pairwise

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlab.faults import resp
from streamlab.faults.resp import Splitter, decode, words

BULK = st.one_of(st.binary(max_size=40), st.sampled_from([b"", b"\r\n", b"$3\r\nabc\r\n", b"*1\r\n"]))
LINE = st.text(st.characters(codec="ascii", exclude_characters="\r\n"), max_size=12).map(str.encode)
NUMBER = st.integers(-(2**63), 2**63 - 1)


def bulk(value, kind=b"$"):
    return b"%s%d\r\n%s\r\n" % (kind, len(value), value)


def many(kind, values, each=1):
    return b"%s%d\r\n%s" % (kind, len(values) // each, b"".join(values))


LEAVES = st.one_of(
    BULK.map(bulk),
    BULK.map(lambda value: bulk(b"txt:" + value, b"=")),
    BULK.map(lambda value: bulk(value, b"!")),
    LINE.map(lambda line: b"+%s\r\n" % line),
    LINE.map(lambda line: b"-ERR %s\r\n" % line),
    NUMBER.map(lambda number: b":%d\r\n" % number),
    NUMBER.map(lambda number: b"(%d\r\n" % number),
    st.sampled_from([b"$-1\r\n", b"*-1\r\n", b"_\r\n", b"#t\r\n", b"#f\r\n", b",1.5e3\r\n", b",inf\r\n", b",nan\r\n"]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda values: many(b"*", values)),
        st.lists(inner, max_size=4).map(lambda values: many(b"~", values)),
        st.lists(st.tuples(inner, inner).map(b"".join), max_size=3).map(lambda pairs: many(b"%", pairs)),
        st.tuples(inner, inner).map(lambda two: b"|1\r\n+note\r\n" + two[0] + two[1]),
    ),
    max_leaves=12,
)
REPLIES = st.one_of(VALUES, st.lists(VALUES, min_size=1, max_size=3).map(lambda values: many(b">", values)))
REQUESTS = st.one_of(
    st.lists(BULK, max_size=6).map(lambda values: many(b"*", [bulk(value) for value in values])),
    st.sampled_from([b"PING\r\n", b"\r\n", b"set a b\n", b"*-1\r\n", b"$3 is no command\r\n"]),
)


def pieces(data, cuts):
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(places)]


CUTS = st.lists(st.integers(0, 10**6), max_size=30)


@given(st.lists(REPLIES, max_size=8), CUTS)
def test_replies_come_out_whole_wherever_they_are_cut(frames, cuts):
    splitter = Splitter()
    found = [frame for piece in pieces(b"".join(frames), cuts) for frame in splitter.feed(piece)]
    assert found == frames
    assert not splitter.broken
    assert splitter.held == 0


@given(st.lists(REQUESTS, max_size=8), CUTS)
def test_requests_come_out_whole_wherever_they_are_cut(frames, cuts):
    splitter = Splitter(requests=True)
    found = [frame for piece in pieces(b"".join(frames), cuts) for frame in splitter.feed(piece)]
    assert found == frames
    assert not splitter.broken


@given(st.lists(REPLIES, min_size=1, max_size=3), st.integers(1, 10**6))
def test_what_is_not_whole_is_held_and_nothing_of_it_comes_out(frames, cut):
    data = b"".join(frames)
    data = data[: len(data) - 1 - cut % len(frames[-1])]
    splitter = Splitter()
    assert splitter.feed(data) == frames[:-1]
    assert splitter.held == len(data) - len(b"".join(frames[:-1]))


@given(st.booleans(), st.lists(st.one_of(st.binary(max_size=50), REPLIES, REQUESTS), max_size=10))
def test_garbage_breaks_the_splitter_and_nothing_else(requests, chunks):
    """What did come out was there, in that order, and once broken nothing more comes and nothing is kept."""
    splitter = Splitter(requests=requests)
    found = b""
    for chunk in chunks:
        was_broken = splitter.broken
        frames = splitter.feed(chunk)
        found += b"".join(frames)
        assert not (was_broken and frames)
        for frame in frames if requests else ():
            with suppress(ValueError):
                assert all(isinstance(word, bytes) for word in words(frame))
    everything = b"".join(chunks)
    assert everything.startswith(found)
    assert splitter.held == (0 if splitter.broken else len(everything) - len(found))


@pytest.mark.parametrize(
    ("requests", "data"),
    [
        (False, b"hello\r\n"),
        (False, b"$-2\r\n"),
        (False, b"$1_0\r\n"),
        (False, b"*+1\r\n"),
        (False, b"$99999999999\r\n"),
        (False, b"*99999999\r\n"),
        (False, b"%99999999\r\n"),
        (False, b"?1\r\n"),
        (True, b"*1\r\n:1\r\n"),
        (True, b"*2\r\n$4\r\nPING\r\n*1\r\n"),
        (True, b"*2000000\r\n"),
    ],
)
def test_what_is_no_resp_breaks_it_at_once(requests, data):
    splitter = Splitter(requests=requests)
    assert splitter.feed(b"*1\r\n$4\r\nPING\r\n" + data) == [b"*1\r\n$4\r\nPING\r\n"]
    assert splitter.broken


@pytest.mark.parametrize(
    ("requests", "data"),
    [
        (False, b"+" + b"x" * 50),
        (True, b"x" * 50),
        (False, b"*9\r\n" + b"$10\r\n0123456789\r\n" * 8),
        (True, b"*9\r\n" + b"$10\r\n0123456789\r\n" * 8),
        (False, b"|0\r\n" * 40),
    ],
)
def test_memory_is_bounded(monkeypatch, requests, data):
    monkeypatch.setattr(resp, "MAX_LINE", 40)
    monkeypatch.setattr(resp, "MAX_FRAME", 100)
    splitter = Splitter(requests=requests)
    for at in range(len(data)):
        assert splitter.feed(data[at : at + 1]) == []
        assert splitter.held <= 100
    assert splitter.broken


def test_a_long_reply_in_many_pieces_is_looked_at_once():
    data = b"*30000\r\n" + b":7\r\n" * 30_000
    splitter = Splitter()
    started = time.monotonic()
    found = [frame for at in range(0, len(data), 100) for frame in splitter.feed(data[at : at + 100])]
    assert found == [data]
    assert time.monotonic() - started < 1


def test_a_bulk_too_long_is_seen_before_it_comes(monkeypatch):
    monkeypatch.setattr(resp, "MAX_FRAME", 100)
    splitter = Splitter()
    splitter.feed(b"$200\r\n")
    assert splitter.broken


def test_what_replies_say():
    assert decode(b"%1\r\n$1\r\na\r\n*2\r\n:1\r\n_\r\n") == {b"a": [1, None]}
    assert str(decode(b"!9\r\nNOAUTH no\r\n")) == "NOAUTH no"
    assert isinstance(decode(b"*2\r\n+OK\r\n-ERR x\r\n")[1], hiredis.ReplyError)
    for nonsense in (b"%1\r\n*1\r\n:1\r\n:2\r\n", b"hello\r\n"):
        with pytest.raises(ValueError, match=r"type|Protocol"):
            decode(nonsense)


def test_what_requests_say():
    assert words(b"*2\r\n$3\r\nget\r\n$1\r\na\r\n") == [b"get", b"a"]
    assert words(b"  set  a b\r\n") == [b"set", b"a", b"b"]
    assert words(b"*0\r\n") == words(b"*-1\r\n") == words(b"\r\n") == []
