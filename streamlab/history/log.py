"""The event log: a CSV file a process, written so cheaply that it does not disturb and so that SIGKILL loses nothing.

    ============ ============================================================================================
    column       meaning
    ============ ============================================================================================
    time_ns      when it happened: CLOCK_MONOTONIC, nanoseconds; one clock for all processes of a machine
    process      who writes
    incarnation  1 for the first process of that name
    kind         one of `KINDS`
    entry        the entry's ID; empty = not about an entry
    job          the lab's job number; empty = none
    deliveries   the server's delivery count as the writer saw it; 0 = not known
    due_ns       when it should have happened, same clock; empty = no due time
    stream       the stream's name
    note         text, or JSON for the lab's own events; it may hold commas, quotes and line breaks
    ============ ============================================================================================

The last line of a killed process may be torn: readers ignore what follows the last whole line (`whole_lines`). Every
worker process imports this module, so it needs nothing heavy.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from time import monotonic_ns
from typing import Protocol, Self

from streamlab.errors import UsageError

#: Everything that can be told about a run.
KINDS = (
    # the producer
    "adding",  # is about to add the job
    "added",  # Redis answered with the entry's ID
    "unknown",  # the reply was lost: nobody can say whether the entry exists
    "refused",  # it certainly was not added
    # a worker
    "read",  # delivered for the first time
    "claimed",  # taken from another consumer, or by recovery
    "own",  # its own pending entry, read again after a restart or a reconnect
    "started",  # the handler runs
    "done",  # the effect exists
    "acked",  # Redis confirmed the XACK
    "failed",  # the handler raised
    "retry",  # scheduled for a later attempt
    "dead",  # moved to the dead-letter stream
    "disowned",  # found that another consumer holds it now
    "deleted",  # still pending, but no longer in the stream
    "healed",  # the group was created again after NOGROUP
    "reconnected",  # Redis was away and is back
    # the lab
    "worker_up",  # the process exists
    "worker_exit",  # the process is gone
    "fault_on",  # a fault begins; the note is JSON: {"fault": "kill", "target": "worker-2", "held": 3}
    "fault_off",  # and ends
    "phase",  # the run's next part; the note says which
    "warning",  # something that the reader should know; the note says what
    "fault_hit",  # a fault inside a worker met a message; the note is JSON: {"index": 0}
    # the wire: what passed the lab's proxy; the note begins with the name of the process at its other end
    "wire_added",  # Redis answered an XADD with this entry
    "wire_delivered",  # Redis answered an XREADGROUP with it, to this consumer
    "wire_claimed",  # ... an XCLAIM or XAUTOCLAIM
    "wire_acked",  # ... an XACK that took it out of the PEL
    "wire_error",  # Redis answered with an error; the note has the command and the error's first word
    "wire_cut",  # a reply was withheld by a fault; the note has the command
)
#: The kinds with which a worker gets an entry.
DELIVERIES = ("read", "claimed", "own")
#: What Redis answered of an entry, as the wire saw it.
WIRE = ("wire_added", "wire_delivered", "wire_claimed", "wire_acked")

COLUMNS = ("time_ns", "process", "incarnation", "kind", "entry", "job", "deliveries", "due_ns", "stream", "note")
HEADER = ",".join(COLUMNS).encode() + b"\n"

_SPECIAL = re.compile(rb'[,"\r\n]')
_LONGEST_NAME = 200  # bytes: a file's name has at most 255
_REMEMBERED = 4096  # messages
_LARGEST_JOB = (1 << 63) - 1


class Seen(Protocol):
    """A message as the queue delivers it (`queue.Message`); all that the event log looks at."""

    @property
    def key(self) -> bytes:
        """The entry ID, b'ms-seq'."""

    @property
    def raw(self) -> Sequence[bytes]:
        """Names and values in turn; the lab's messages have their number in the field b'job'."""

    @property
    def deliveries(self) -> int:
        """How often the server says that it was delivered."""


class EventLog:
    """Append events to `folder/events/<process>.<incarnation>.csv`.

        with EventLog("out/run-1", "worker-2") as log:
            worker = Worker(..., observe=log.observe)
            log.write("warning", note="the disk is slow")

    Each call is one write(2) to the end of the file: what is written belongs to the kernel and outlives the process,
    and any number of threads may write. (A power cut is another matter: nothing is synced.)

    `witness` is who writes it, where that is not the process itself: the proxy does for a worker that keeps no log.

    Raises UsageError where this incarnation's log is there already: evidence is never overwritten.
    """

    def __init__(
        self, folder: str | Path, process: str, incarnation: int = 1, stream: str = "", *, witness: str = ""
    ) -> None:
        too_long = len(process.encode()) > _LONGEST_NAME
        if not process or too_long or "/" in process or "\0" in process or process.startswith("."):
            raise UsageError(f"{process!r} cannot name an event log: a process needs a plain name, as in 'worker-1'")
        events = Path(folder) / "events"
        events.mkdir(parents=True, exist_ok=True)
        self.path = events / ".".join(filter(None, (process, str(incarnation), witness, "csv")))
        try:
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            raise UsageError(f"{self.path} is there already: a restarted process writes its next incarnation") from None
        self._closed = False
        who = b"%b,%d" % (field(process), incarnation)
        self._heads = {kind: b",%b,%b," % (who, kind.encode()) for kind in KINDS}
        self._stream = field(stream)
        self._known: dict[bytes, bytes] = {}  # by entry ID, the columns entry and job
        self._append(HEADER)

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
    ) -> None:
        """Write one event; `time_ns` is now by default. Raises KeyError where the kind is none of `KINDS`."""
        ms, seq = parse_entry(entry)
        what = b"%d-%d," % (ms, seq) if entry else b","
        what += b"%d," % job if job >= 0 else b","
        due = b"%d" % due_ns if due_ns else b""
        rest = (deliveries, due, self._stream, field(note))
        now = monotonic_ns() if time_ns is None else time_ns
        self._append(b"%d%b%b%d,%b,%b,%b\n" % (now, self._heads[kind], what, *rest))

    def observe(self, kind: str, messages: Sequence[Seen], note: str = "") -> None:
        """The queue's observer callback: an event a message, all of one moment; for no messages one with no entry."""
        if not messages:
            self.write(kind, note=note)
            return
        # This is the price that every message of every run pays; `streamlab bench` holds it to its budget.
        known, learn = self._known.get, self._learn
        head = b"%d%b" % (monotonic_ns(), self._heads[kind])
        tail = b",,%b,%b\n" % (self._stream, field(note))
        self._append(b"".join([b"%b%b%d%b" % (head, known(m.key) or learn(m), m.deliveries, tail) for m in messages]))

    def close(self) -> None:
        """Writing afterwards raises ValueError."""
        if not self._closed:
            self._closed = True
            os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self, data: bytes) -> None:
        if self._closed:
            raise ValueError(f"{self.path.name} is closed")
        written = os.write(self._file, data)
        if written < len(data):  # a full disk takes a part, and refuses the rest with an error
            os.write(self._file, data[written:])

    def _learn(self, message: Seen) -> bytes:
        """Parse ID and job of a message once, not at each of its events. Forgets all if there are many."""
        ms, _, seq = message.key.partition(b"-")
        raw = message.raw
        try:  # the field stands first in the lab's own messages, and anywhere in others'
            job = int(raw[1] if raw and raw[0] == b"job" else raw[2 * raw[::2].index(b"job") + 1])
        except (ValueError, IndexError):  # anybody may have added it, with anything for a job number, or with none
            job = -1
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        number = b"%d" % job if 0 <= job <= _LARGEST_JOB else b""
        columns = self._known[message.key] = b"%d-%d,%b," % (int(ms), int(seq), number)
        return columns


def field(text: str) -> bytes:
    """A field of a CSV file that holds any text. What UTF-8 or a reader in C cannot hold is written as its escape."""
    if not text:
        return b""
    data = text.replace("\0", r"\x00").encode(errors="backslashreplace")
    return b'"' + data.replace(b'"', b'""') + b'"' if _SPECIAL.search(data) else data


def whole_lines(data: bytes) -> bytes:
    """What comes before a torn last line: up to the last line break that is not inside quotes."""
    end = data.rfind(b"\n") + 1
    inside = data.count(b'"', 0, end) % 2
    while inside and end:
        before = data.rfind(b"\n", 0, end - 1) + 1
        inside = (inside + data.count(b'"', before, end)) % 2
        end = before
    return data if end == len(data) else data[:end]


def parse_entry(entry: str) -> tuple[int, int]:
    """The two halves of an entry ID; (0, 0) for no entry. Raises ValueError for anything that is not an ID."""
    if not entry:
        return 0, 0
    ms, _, seq = entry.partition("-")
    return int(ms), int(seq)
