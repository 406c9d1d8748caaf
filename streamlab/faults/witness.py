"""What Redis answered, told as events: the third witness of a run, beside the workers' journals and the probes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import hiredis

#: The commands whose replies say something about an entry.
WITNESSED = frozenset((b"XADD", b"XREADGROUP", b"XCLAIM", b"XAUTOCLAIM", b"XACK", b"XACKDEL"))
_REMEMBERED = 200_000
_QUIET = frozenset((b"CLIENT",))  # a client introduces itself, and an older server does not know the word
_LONE_OPTIONS = frozenset((b"NOMKSTREAM", b"KEEPREF", b"DELREF", b"ACKED"))  # of XADD
_OPTIONS = {b"LIMIT": 2, b"IDMPAUTO": 2, b"IDMP": 3}  # and how many words they take


class Event(NamedTuple):
    """What a worker learns from a reply: a kind of event, about an entry."""

    kind: str
    entry: str
    job: int
    deliveries: int = 0
    note: str = ""


_NOBODY = Event("", "", -1)


class Writer(Protocol):
    """Where events go: a journal."""

    def write(self, kind: str, *, entry: str = "", job: int = -1, deliveries: int = 0, note: str = "") -> None:
        """Append an event of this kind."""


class Speaker(NamedTuple):
    """Who is at the client's end of a connection; `writer` is for one that keeps no journal of its own."""

    name: str
    writer: Writer | None = None


class _Known:
    """What has been seen of an entry: its job, the consumer that has it, and whether it is out of the PEL."""

    __slots__ = ("gone", "job", "owner")

    def __init__(self) -> None:
        self.job = -1
        self.owner = b""
        self.gone = False


class Witness:
    """Writes down what passes: `wire_added`, `wire_delivered`, `wire_claimed`, `wire_acked`, `wire_error`, `wire_cut`.

    These are facts about Redis, whoever heard of them. Their note is the process's name, then what is to be added:
    `worker-1 own` for an entry of the reader's own PEL, `worker-1 2 of 3` for an XACK of three that acknowledged two,
    nobody can say which.

    What a worker learns (`read`, `own`, `claimed`, `acked`, `deleted`) is returned, and written by `tell` when the
    bytes reach it: only for a speaker that has a writer.

    Not seen: what a script does. XCLAIM and XAUTOCLAIM with JUSTID of an entry that the consumer has already are signs
    of life, and no event.

    Args:
        wire: where it writes.
        stream: the key to watch; "": every stream.
        group: the group to watch; "": every group.
    """

    def __init__(self, wire: Writer, stream: str = "", group: str = "") -> None:
        self._wire = wire
        self._stream = stream.encode()
        self._group = group.encode()
        #: The first error of a writer.
        self.failure: Exception | None = None
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def saw(self, speaker: Speaker, command: bytes, words: Sequence[bytes], reply: Any) -> list[Event]:
        """A request of one of the commands WITNESSED, and its reply decoded; what the speaker learns from it."""
        if isinstance(reply, hiredis.ReplyError):  # within EXEC's reply
            self.error(speaker, command, reply)
            return []
        try:
            events = list(_SAW[command](self, words, reply))
        except (ValueError, TypeError, IndexError, KeyError, AttributeError):
            return []  # words or a reply of a shape that nobody knows say nothing
        for event in events:
            if kind := _ON_THE_WIRE.get(event.kind):
                extra = "own" if event.kind == "own" else event.note
                note = f"{speaker.name} {extra}" if extra else speaker.name
                self._write(self._wire, event, kind, note)
        return [event for event in events if event.kind != "added"] if speaker.writer is not None else []

    def error(self, speaker: Speaker, command: bytes, error: Any) -> None:
        """Redis answered with an error."""
        if command not in _QUIET:
            first = str(error).partition(" ")[0][:40]
            note = f"{speaker.name} {command[:40].decode(errors='replace')} {first}"
            self._write(self._wire, _NOBODY, "wire_error", note)

    def cut(self, speaker: Speaker, command: str) -> None:
        """The reply to this command is withheld."""
        self._write(self._wire, _NOBODY, "wire_cut", f"{speaker.name} {command}")

    def tell(self, speaker: Speaker, events: Iterable[Event]) -> None:
        """The speaker learns this now."""
        if speaker.writer is not None:
            for event in events:
                self._write(speaker.writer, event, event.kind, event.note)

    def _write(self, writer: Writer, event: Event, kind: str, note: str) -> None:
        try:
            writer.write(kind, entry=event.entry, job=event.job, deliveries=event.deliveries, note=note)
        except Exception as error:  # a full disk must not break the wire; whoever closes it hears of it
            self.failure = self.failure or error

    def _watched(self, stream: bytes, group: bytes | None = None) -> bool:
        return self._stream in (b"", stream) and (group is None or self._group in (b"", group))

    def _added(self, words: Sequence[bytes], reply: Any) -> Iterable[Event]:
        if self._watched(words[1]) and reply is not None:
            entry = _id(reply)
            known = self._know(entry)
            known.job = _job(_fields(words))
            yield Event("added", entry, known.job)

    def _read(self, words: Sequence[bytes], reply: Any) -> Iterable[Event]:
        group, consumer = words[2], words[3]
        first = [word.upper() for word in words].index(b"STREAMS", 4) + 1
        count = (len(words) - first) // 2
        asked = dict(zip(words[first : first + count], words[first + count :], strict=True))
        for stream, rows in reply.items() if isinstance(reply, dict) else reply or ():  # RESP3, RESP2
            if not self._watched(stream, group):
                continue
            for row in rows:  # with CLAIM (8.4) there are four columns: how often it was delivered before is the last
                again = row[3] if len(row) > 3 else 0
                kind = "own" if asked[stream] != b">" else "claimed" if again else "read"
                yield self._given(kind, row, consumer, again + 1 if len(row) > 3 or kind == "read" else 0)

    def _claimed(self, words: Sequence[bytes], reply: Any) -> Iterable[Event]:
        _, stream, group, consumer, *_ = words
        if not self._watched(stream, group):
            return
        auto = words[0].upper() == b"XAUTOCLAIM"
        for row in reply[1] if auto else reply:
            if isinstance(row, bytes):  # JUSTID
                if self._know(_id(row)).owner != consumer:
                    yield self._given("claimed", (row, ()), consumer, 0)
            elif row is not None:  # before 7.0, nil stands for an entry that is no longer in the stream
                yield self._given("claimed", row, consumer, 0)
        for row in reply[2] if auto and len(reply) > 2 else ():  # out of the PEL by this call: deleted from the stream
            known = self._know(_id(row))
            known.gone = True
            yield Event("deleted", _id(row), known.job)

    def _given(self, kind: str, row: Sequence[Any], consumer: bytes, deliveries: int) -> Event:
        """The consumer has the entry now; nil for its fields: it is no longer in the stream."""
        entry, fields = _id(row[0]), row[1]
        known = self._know(entry)
        known.owner, known.gone = consumer, False
        if fields:
            known.job = _job(fields)
        return Event("deleted" if fields is None else kind, entry, known.job, deliveries)

    def _acked(self, words: Sequence[bytes], reply: Any) -> Iterable[Event]:
        """XACK says how many it took out of the PEL. Those seen to be out of it already are not among them."""
        if not self._watched(words[1], words[2]) or not int(reply):
            return
        entries = list(dict.fromkeys(map(_id, words[3:])))
        if reply != len(entries):
            left = [entry for entry in entries if not self._know(entry).gone]
            entries = left if reply == len(left) else entries
        note = f"{reply} of {len(entries)}" if reply != len(entries) else ""
        for entry in entries:
            known = self._know(entry)
            known.gone = known.gone or not note
            yield Event("acked", entry, known.job, note=note)

    def _acked_deleted(self, words: Sequence[bytes], reply: Any) -> Iterable[Event]:
        """XACKDEL says it of each entry: -1 is one that was not pending."""
        if self._watched(words[1], words[2]):
            first = [word.upper() for word in words].index(b"IDS", 3) + 2
            for word, code in zip(words[first:], reply, strict=True):
                if code > 0:
                    known = self._know(_id(word))
                    known.gone = True
                    yield Event("acked", _id(word), known.job)

    def _know(self, entry: str) -> _Known:
        known = self._known.get(entry)
        if known is None:
            known = self._known[entry] = _Known()
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return known


_SAW: dict[bytes, Callable[[Witness, Sequence[bytes], Any], Iterable[Event]]] = {
    b"XADD": Witness._added,
    b"XREADGROUP": Witness._read,
    b"XCLAIM": Witness._claimed,
    b"XAUTOCLAIM": Witness._claimed,
    b"XACK": Witness._acked,
    b"XACKDEL": Witness._acked_deleted,
}
_ON_THE_WIRE = {
    "added": "wire_added",
    "read": "wire_delivered",
    "own": "wire_delivered",
    "claimed": "wire_claimed",
    "acked": "wire_acked",
}


def _id(entry: bytes) -> str:
    """The entry's ID in full, as `ms-seq`; ValueError for what is none."""
    ms, _, seq = entry.partition(b"-")
    if not ms.isdigit() or len(entry) > 41 or max(int(ms), int(seq or 0)) >= 1 << 64:
        raise ValueError(f"no entry ID: {entry!r}")
    return f"{int(ms)}-{int(seq or 0)}"


def _fields(words: Sequence[bytes]) -> Sequence[bytes]:
    """Names and values in turn, from an XADD: what stands behind its options and the ID."""
    at = 2
    while (option := words[at].upper()) in _LONE_OPTIONS or option in _OPTIONS or option in (b"MAXLEN", b"MINID"):
        if option in (b"MAXLEN", b"MINID"):
            at += 3 if words[at + 1] in (b"=", b"~") else 2
        else:
            at += _OPTIONS.get(option, 1)
    return words[at + 1 :]


def _job(fields: Sequence[bytes]) -> int:
    """The job's number among the fields; -1 for none. The lab's own messages begin with it."""
    for name, value in zip(fields[::2], fields[1::2], strict=False):
        if name == b"job":
            return int(value) if value.isdigit() and len(value) < 19 else -1
    return -1
