"""The tap: records what Redis answered, as events beside those that the processes log themselves."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import hiredis

from streamlab.history.log import EventLog

_REMEMBERED = 200_000  # entries


class Process(NamedTuple):
    """Who is at the client's end of a connection; `log` is for a custom worker, which keeps none itself."""

    name: str
    log: EventLog | None = None


class Event(NamedTuple):
    """What a reply says about an entry."""

    kind: str
    entry: str = ""
    job: int = -1
    deliveries: int = 0
    note: str = ""


@dataclass(slots=True)
class _Entry:
    """What has been seen of an entry: its job, the consumer that has it, and whether it is out of the PEL."""

    job: int = -1
    owner: bytes = b""
    gone: bool = False


class Tap:
    """Records `wire_added`, `wire_delivered`, `wire_claimed`, `wire_acked`, `wire_error` and `wire_cut`.

    These are facts about Redis, whether or not the reply reached anybody. Their note is the process's name and what
    else is known: `worker-1 own` for an entry of the reader's own PEL; `worker-1 2 of 3` for an XACK of three that
    acknowledged two, where the reply does not say which.

    What a process knows from a reply (`read`, `own`, `claimed`, `acked`, `deleted`) is returned, for `delivered` to
    record when the bytes reach it: only for a process with a log.

    Not seen: what a script does. XCLAIM and XAUTOCLAIM with JUSTID of an entry that the consumer has already are
    heartbeats, and no event.

    Args:
        log: where it writes; None: nowhere.
        stream: the key to watch; "": every stream.
    """

    def __init__(self, log: EventLog | None = None, stream: str = "") -> None:
        self._log = log
        self._stream = stream.encode()
        #: The first error of an event log.
        self.failure: Exception | None = None
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    def answered(self, process: Process, command: bytes, words: Sequence[bytes], reply: Any) -> list[Event]:
        """Record a request and its decoded reply; return what the process knows from it."""
        if isinstance(reply, hiredis.ReplyError):
            if command != b"CLIENT":  # redis-py introduces itself; older servers reject CLIENT SETINFO
                error = str(reply).partition(" ")[0][:40]
                note = f"{process.name} {command[:40].decode(errors='replace')} {error}"
                self._write(self._log, Event("wire_error", note=note))
            return []
        try:
            events = list(_TOLD[command](self, words, reply)) if words else []
        except (ValueError, TypeError, IndexError, KeyError, AttributeError):
            return []  # words or a reply of an unknown shape
        for event in events:
            if kind := _WIRE_KINDS.get(event.kind):
                note = f"{process.name} {'own' if event.kind == 'own' else event.note}".rstrip()
                self._write(self._log, Event(kind, event.entry, event.job, event.deliveries, note))
        return [event for event in events if event.kind != "added"] if process.log is not None else []

    def cut(self, process: Process, command: str) -> None:
        """Record that the reply to this command is withheld."""
        self._write(self._log, Event("wire_cut", note=f"{process.name} {command}"))

    def delivered(self, process: Process, events: Iterable[Event]) -> None:
        """Record that these events have reached the process."""
        for event in events:
            self._write(process.log, event)

    def _write(self, log: EventLog | None, event: Event) -> None:
        kind, entry, job, deliveries, note = event
        try:
            if log is not None:
                log.write(kind, entry=entry, job=job, deliveries=deliveries, note=note)
        except Exception as error:  # a full disk must not break connections: `Proxy.close` raises it
            self.failure = self.failure or error

    # -------------------------------------------------------------------------------- what each command's reply says

    def _watched(self, stream: bytes) -> bool:
        return self._stream in (b"", stream)

    def _added(self, words: Sequence[bytes], reply: Any) -> Iterable[Event]:
        if self._watched(words[1]) and reply is not None:
            entry = _id(reply)
            known = self._entry(entry)
            known.job = _job(words[2:])
            yield Event("added", entry, known.job)

    def _read(self, words: Sequence[bytes], reply: Any) -> Iterable[Event]:
        consumer = words[3]
        first = [word.upper() for word in words].index(b"STREAMS", 4) + 1
        count = (len(words) - first) // 2
        asked = dict(zip(words[first : first + count], words[first + count :], strict=True))
        for stream, rows in reply.items() if isinstance(reply, dict) else reply or ():  # RESP3, RESP2
            if not self._watched(stream):
                continue
            for row in rows:  # with CLAIM (8.4) there are four columns, the last is the count of earlier deliveries
                before = row[3] if len(row) > 3 else 0
                kind = "own" if asked[stream] != b">" else "claimed" if before else "read"
                yield self._given(kind, row, consumer, before + 1 if len(row) > 3 or kind == "read" else 0)

    def _claimed(self, words: Sequence[bytes], reply: Any) -> Iterable[Event]:
        _, stream, _, consumer, *_ = words
        if not self._watched(stream):
            return
        auto = words[0].upper() == b"XAUTOCLAIM"
        for row in reply[1] if auto else reply:
            if isinstance(row, bytes):  # JUSTID
                if self._entry(_id(row)).owner != consumer:
                    yield self._given("claimed", (row, ()), consumer)
            elif row is not None:  # before 7.0, nil stands for an entry that is no longer in the stream
                yield self._given("claimed", row, consumer)
        for row in reply[2] if auto and len(reply) > 2 else ():  # out of the PEL by this call: deleted from the stream
            yield self._out("deleted", _id(row))

    def _given(self, kind: str, row: Sequence[Any], consumer: bytes, deliveries: int = 0) -> Event:
        """The consumer has the entry now; nil for its fields: it is no longer in the stream."""
        entry, fields = _id(row[0]), row[1]
        known = self._entry(entry)
        known.owner, known.gone = consumer, False
        if fields:
            known.job = _job(fields)
        return Event("deleted" if fields is None else kind, entry, known.job, deliveries)

    def _acked(self, words: Sequence[bytes], reply: Any) -> Iterable[Event]:
        """XACK says how many it took out of the PEL. Those seen to be out of it already are not among them."""
        if not self._watched(words[1]) or not int(reply):
            return
        entries = list(dict.fromkeys(map(_id, words[3:])))
        if reply != len(entries):
            left = [entry for entry in entries if not self._entry(entry).gone]
            entries = left if reply == len(left) else entries
        for entry in entries:
            if reply == len(entries):
                yield self._out("acked", entry)
            else:
                yield Event("acked", entry, self._entry(entry).job, note=f"{reply} of {len(entries)}")

    def _acked_deleted(self, words: Sequence[bytes], reply: Any) -> Iterable[Event]:
        """XACKDEL says it of each entry: -1 is one that was not pending."""
        if self._watched(words[1]):
            first = [word.upper() for word in words].index(b"IDS", 3) + 2
            for word, code in zip(words[first:], reply, strict=True):
                if code > 0:
                    yield self._out("acked", _id(word))

    def _out(self, kind: str, entry: str) -> Event:
        """The entry is out of the PEL."""
        known = self._entry(entry)
        known.gone = True
        return Event(kind, entry, known.job)

    def _entry(self, entry: str) -> _Entry:
        known = self._entries.get(entry)
        if known is None:
            known = self._entries[entry] = _Entry()
            if len(self._entries) > _REMEMBERED:
                self._entries.popitem(last=False)
        return known


_TOLD: dict[bytes, Callable[[Tap, Sequence[bytes], Any], Iterable[Event]]] = {
    b"XADD": Tap._added,
    b"XREADGROUP": Tap._read,
    b"XCLAIM": Tap._claimed,
    b"XAUTOCLAIM": Tap._claimed,
    b"XACK": Tap._acked,
    b"XACKDEL": Tap._acked_deleted,
}
#: The commands whose replies say something about an entry.
TAPPED = frozenset(_TOLD)

_WIRE_KINDS = {kind: f"wire_{kind}" for kind in ("added", "claimed", "acked")}
_WIRE_KINDS |= dict.fromkeys(("read", "own"), "wire_delivered")


def _id(entry: bytes) -> str:
    """Return the entry's ID in full, as `ms-seq`; ValueError for what is none."""
    ms, _, seq = entry.partition(b"-")
    if not ms.isdigit() or len(entry) > 41 or max(int(ms), int(seq or 0)) >= 1 << 64:
        raise ValueError(f"no entry ID: {entry!r}")
    return f"{int(ms)}-{int(seq or 0)}"


def _job(fields: Sequence[bytes]) -> int:
    """Return the job's number among the fields, or an XADD's words, which end with them; -1 for none."""
    for at in range(len(fields) % 2, len(fields) - 1, 2):
        if fields[at] == b"job":
            return int(fields[at + 1]) if fields[at + 1].isdigit() and len(fields[at + 1]) < 19 else -1
    return -1
