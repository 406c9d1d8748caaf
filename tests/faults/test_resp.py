"""The RESP session: whatever bytes come, in whatever pieces, they pass unharmed, and a cut is exact."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streamlab.faults.proxy.resp import Session
from streamlab.faults.proxy.tap import Process, Tap
from streamlab.faults.proxy.toxics import CutReply
from tests.faults.proxied import Log, said

TEXT = st.one_of(st.binary(max_size=40), st.sampled_from([b"", b"\r\n", b"\r", b"$3\r\nabc\r\n", b"*1\r\n"]))
LINE = st.text(st.characters(codec="ascii", exclude_characters="\r\n"), max_size=12).map(str.encode)
NUMBER = st.integers(-(2**63), 2**63 - 1)


def bulk(value, kind=b"$"):
    return b"%s%d\r\n%s\r\n" % (kind, len(value), value)


def many(kind, values, each=1):
    return b"%s%d\r\n%s" % (kind, len(values) // each, b"".join(values))


KEYS = TEXT.map(bulk)
LEAVES = st.one_of(
    KEYS,
    TEXT.map(lambda value: bulk(b"txt:" + value, b"=")),
    LINE.map(lambda line: b"+%s\r\n" % line),
    LINE.map(lambda line: b"-ERR %s\r\n" % line),
    NUMBER.map(lambda number: b":%d\r\n" % number),
    NUMBER.map(lambda number: b"(%d\r\n" % number),
    st.sampled_from([b"$-1\r\n", b"*-1\r\n", b"_\r\n", b"#t\r\n", b"#f\r\n", b",1.5e3\r\n", b",inf\r\n", b",nan\r\n"]),
)
REPLIES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda values: many(b"*", values)),
        st.lists(inner, max_size=4).map(lambda values: many(b"~", values)),
        st.lists(st.tuples(KEYS, inner).map(b"".join), max_size=3).map(
            lambda pairs: b"%%%d\r\n" % len(pairs) + b"".join(pairs)
        ),
    ),
    max_leaves=12,
)
PUSHES = st.lists(st.lists(LEAVES, min_size=1, max_size=3).map(lambda values: many(b">", values)), max_size=2)
COMMANDS = st.lists(TEXT, min_size=1, max_size=6)
SPLITS = st.lists(st.integers(0, 10**6), max_size=30)


def pieces(data, splits):
    places = sorted({0, len(data), *(split % (len(data) + 1) for split in splits)})
    return [data[start:end] for start, end in pairwise(places)]


def encoded(words):
    return many(b"*", [bulk(word) for word in words])


@given(st.lists(REPLIES, min_size=1, max_size=6), PUSHES, st.integers(0, 10), SPLITS, SPLITS)
def test_a_cut_withholds_exactly_one_reply_and_what_follows(replies, pushes, nth, asked, answered):
    """Pushes are no replies. Without a cut every byte passes at once."""
    nth %= len(replies)
    cut = CutReply(command="CUT")
    toxics = [cut]
    it = Session(Process("w"), Tap(log := Log()), toxics)
    commands = [["CUT" if number == nth else "GET", number] for number in range(len(replies))]
    for piece in pieces(said(*commands), asked):
        it.request(piece)
    before = b"".join((*replies[:nth], *pushes))
    passed = []
    for piece in pieces(before + b"".join(replies[nth:]), answered):
        passed.append(it.reply(piece))
        if passed[-1].cut:
            break
    assert b"".join(each.data for each in passed) == before
    assert (passed[-1].cut, cut.hit) == (True, 1)
    assert log.of("wire_cut") == [("", -1, 0, "w CUT")]


@given(st.lists(REPLIES, min_size=1, max_size=6), SPLITS, st.booleans())
def test_all_bytes_pass_when_nothing_is_cut(replies, splits, lifted):
    """Also those that were kept back for a cut that is removed in time."""
    toxics = [CutReply(command="GET")] if lifted else []
    it = Session(Process("w"), Tap(), toxics)
    it.request(said(*(["GET", number] for number in range(len(replies)))))
    data = b"".join(replies)
    passed = it.reply(data[:1]).data
    toxics.clear()
    assert passed + b"".join(it.reply(piece).data for piece in pieces(data[1:], splits)) == data


@given(
    st.lists(st.tuples(st.booleans(), st.one_of(st.binary(max_size=50), REPLIES, COMMANDS.map(encoded)))), st.booleans()
)
def test_garbage_passes_and_harms_nobody(chunks, cutting):
    it = Session(Process("w", Log()), Tap(Log()), [CutReply(command="NONE")] if cutting else [])
    sent = passed = b""
    for upstream, data in chunks:
        if upstream:
            it.request(data)
        else:
            sent += data
            passed += it.reply(data).data
    assert passed == sent


def test_a_reply_that_nobody_asked_for_ends_the_parsing_unless_it_is_an_error():
    """Redis may say that it closes the connection."""
    for unasked, tapped in ((b"-ERR max clients\r\n", 1), (b"+HELLO\r\n", 0)):
        it = Session(Process("w"), Tap(log := Log()), [])
        it.reply(unasked)
        it.request(said(["XADD", "s", "*", "job", 1]))
        it.reply(b"$3\r\n1-1\r\n")
        assert len(log.all) == tapped


def test_what_is_no_request_ends_the_parsing_at_once():
    add = said(["XADD", "s", "*", "job", 1])
    for strange in (b"*1\r\n:1\r\n", b"*2\r\n$4\r\nPING\r\n*1", b"*1\r\n*0\r\n", b"PING\r\n", b"$1\r\nx\r\n"):
        it = Session(Process("w"), Tap(log := Log()), [])
        it.request(add + strange + add)
        for reply in (b"$3\r\n1-1\r\n", b"-ERR\r\n", b"$3\r\n1-2\r\n"):
            assert it.reply(reply).data == reply
        assert log.of("wire_added") == [("1-1", 1, 0, "w")]
