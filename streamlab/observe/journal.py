"""One process's events, written so fast that they do not disturb it and so that SIGKILL loses none of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from errno import EINVAL, EOPNOTSUPP
from itertools import count
from mmap import mmap
from pathlib import Path
from struct import Struct
from threading import RLock
from time import monotonic_ns
from typing import Protocol, Self

from streamlab.errors import UsageError
from streamlab.record import (
    DELIVERIES,
    HEADER,
    HEADER_RECORDS,
    KIND_NUMBER,
    LONGEST_NAME,
    MAGIC,
    RECORD,
    SPARE_BYTES,
    TEXT_LENGTH,
    VERSION,
    parse_entry,
)

# A chunk is one window of memory on the file: 1 MB, a multiple of every platform's page size, 16,384 records.
_CHUNK_BITS = 14
_CHUNK_BYTES = RECORD.size << _CHUNK_BITS
_IN_CHUNK = (1 << _CHUNK_BITS) - 1
_RECORD_BITS = RECORD.size.bit_length() - 1
_REMEMBERED = 4096
_LARGEST_JOB = (1 << 63) - 1

_pack_into = RECORD.pack_into

# The same record in five pieces, for `Journal.observe`: what stays the same of a message, and of its texts, is packed
# once. Time, (due_ns, ms, seq, job), deliveries, (note, stream, spare), kind.
_MESSAGE = Struct("<qQQq")
_TEXTS = Struct(f"<II{SPARE_BYTES}x")
_PIECES = Struct(f"<q{_MESSAGE.size}sI{_TEXTS.size}sB")
_pack_pieces_into = _PIECES.pack_into


class Seen(Protocol):
    """A message as the queue delivers it (`queue.Message`); all that the journal looks at."""

    @property
    def key(self) -> bytes:
        """The entry ID, b'ms-seq'."""

    @property
    def raw(self) -> Sequence[bytes]:
        """Names and values in turn; the lab's messages have their number in the field b'job'."""

    @property
    def deliveries(self) -> int:
        """How often the server says that it was delivered."""


class Journal:
    """Append events to `folder/events/<process>.<incarnation>.events`.

        with Journal("out/run-1", "worker-2") as journal:
            worker = Worker(..., observe=journal.observe)
            journal.write("warning", note="the disk is slow")

    The file is mapped into memory: an event is a store into a page that belongs to the kernel and outlives the process,
    and no system call. (A power cut is another matter: nothing is synced.) Any number of threads may write: each takes
    its place in the file by drawing a number, so two never meet, and a place that was drawn but not filled is a hole,
    which readers skip.

    `witness` is who writes it, where that is not the process itself: the proxy does for a worker that keeps no journal.

    Raises UsageError where this incarnation's journal is there already: evidence is never overwritten.
    """

    def __init__(
        self, folder: str | Path, process: str, incarnation: int = 1, stream: str = "", *, witness: str = ""
    ) -> None:
        name = process.encode()
        if not name or len(name) > LONGEST_NAME or "/" in process or "\0" in process or process.startswith("."):
            raise UsageError(f"{process!r} cannot name a journal: a process needs a plain name, as in 'worker-1'")
        events = Path(folder) / "events"
        events.mkdir(parents=True, exist_ok=True)
        self.path = events / ".".join(filter(None, (process, str(incarnation), witness, "events")))
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            raise UsageError(f"{self.path} is there already: a restarted process writes its next incarnation") from None
        self._side = os.open(self.path.with_suffix(".notes"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        self._side_size = 0
        self._size = 0
        self._chunks: dict[int, mmap] = {}
        self._lock = RLock()  # re-entrant: a signal handler may write in the middle of a write
        self._closed = False
        self._texts: dict[str, int] = {}
        self._known: dict[bytes, bytes] = {}  # by entry ID, what a record says of the message itself
        self._draw = count(HEADER_RECORDS).__next__
        HEADER.pack_into(self._chunk(0), 0, MAGIC, VERSION, RECORD.size, incarnation, os.getpid(), name)
        self._stream = self._text(stream) if stream else 0
        self._no_note = _TEXTS.pack(0, self._stream)

    def write(
        self,
        kind: str,
        *,
        entry: str = "",
        job: int = -1,
        deliveries: int = 0,
        due_ns: int = 0,
        note: str = "",
        time_ns: int | None = None,
        stream: str = "",
    ) -> None:
        """Write one event of one of `record.KINDS`; `time_ns` and `due_ns` are CLOCK_MONOTONIC, now by default."""
        ms, seq = parse_entry(entry)
        number = KIND_NUMBER[kind]
        note_at = self._text(note) if note else 0
        stream_at = self._text(stream) if stream else self._stream
        now = monotonic_ns() if time_ns is None else time_ns
        place = self._draw()
        try:
            chunk = self._chunks[place >> _CHUNK_BITS]
        except KeyError:
            chunk = self._chunk(place >> _CHUNK_BITS)
        at = (place & _IN_CHUNK) << _RECORD_BITS
        _pack_into(chunk, at, now, due_ns, ms, seq, job, deliveries, note_at, stream_at, number)

    def observe(self, kind: str, messages: Sequence[Seen], note: str = "") -> None:
        """The queue's observer callback: an event a message, all of one moment; for no messages one with no entry."""
        if not messages:
            self.write(kind, note=note)
            return
        # This loop is the price that every message of every run pays; `streamlab bench` holds it to its budget.
        number = KIND_NUMBER[kind]
        texts = _TEXTS.pack(self._text(note), self._stream) if note else self._no_note
        known, draw, chunks = self._known, self._draw, self._chunks
        if kind in DELIVERIES:
            self._learn(messages)
        now = monotonic_ns()
        for message in messages:
            try:
                facts = known[message.key]
            except KeyError:  # another thread made room, or a message that was never said to come
                facts = self._learn((message,))
            place = draw()
            try:
                chunk = chunks[place >> _CHUNK_BITS]
            except KeyError:
                chunk = self._chunk(place >> _CHUNK_BITS)
            at = (place & _IN_CHUNK) << _RECORD_BITS
            _pack_pieces_into(chunk, at, now, facts, message.deliveries, texts, number)

    def close(self) -> None:
        """Cut the file to what was written. Writing afterwards raises ValueError."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            # First let go of the memory, then cut: touching a mapped page behind the end of its file is a SIGBUS.
            for chunk in self._chunks.values():
                chunk.close()
            self._chunks.clear()
            os.ftruncate(self._file, self._draw() * RECORD.size)
            os.close(self._file)
            os.close(self._side)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _learn(self, messages: Sequence[Seen]) -> bytes:
        """Parse ID and job of each once, not at each of its four events; the last one's. Forgets all if many."""
        known = self._known
        if len(known) >= _REMEMBERED:
            known.clear()
        for message in messages:
            ms, seq = message.key.split(b"-")
            raw = message.raw
            try:  # the field stands first in the lab's own messages, and anywhere in others'
                job = int(raw[1] if raw and raw[0] == b"job" else raw[2 * raw[::2].index(b"job") + 1])
            except (ValueError, IndexError):  # anybody may have added it, with anything for a job number, or with none
                job = -1
            facts = known[message.key] = _MESSAGE.pack(0, int(ms), int(seq), job if 0 <= job <= _LARGEST_JOB else -1)
        return facts

    def _chunk(self, number: int) -> mmap:
        """The window on the file in which a record lies; grows the file on the way."""
        with self._lock:
            if self._closed:
                raise ValueError(f"{self.path.name} is closed")
            if number in self._chunks:
                return self._chunks[number]
            start = number * _CHUNK_BYTES
            if self._size < start + _CHUNK_BYTES:
                self._grow(start + _CHUNK_BYTES)
            chunk = mmap(self._file, _CHUNK_BYTES, offset=start)
            self._chunks[number] = chunk
            # Two windows are kept, for threads that drew the last numbers of the one before. A slower thread opens its
            # window again; each holds a file descriptor, so they must not pile up over a long run.
            for old in [n for n in self._chunks if n < number - 1]:
                del self._chunks[old]
            return chunk

    def _grow(self, size: int) -> None:
        """Reserve the space now, where the system can: a full disk is an error here, and a SIGBUS later."""
        try:
            os.posix_fallocate(self._file, self._size, size - self._size)
        except (AttributeError, OSError) as error:  # macOS has no such call, and not every file system can do it
            if isinstance(error, OSError) and error.errno not in (EINVAL, EOPNOTSUPP):
                raise
            os.ftruncate(self._file, size)
        self._size = size

    def _text(self, text: str) -> int:
        """Where a text begins in the side file, plus one. It is on file before the record that names it."""
        with self._lock:
            if self._closed:
                raise ValueError(f"{self.path.name} is closed")
            if text not in self._texts:
                if len(self._texts) >= _REMEMBERED:
                    self._texts.clear()
                data = text.encode(errors="backslashreplace")
                data = TEXT_LENGTH.pack(len(data)) + data
                place = self._side_size + 1
                self._side_size += os.write(self._side, data)
                self._texts[text] = place
            return self._texts[text]
