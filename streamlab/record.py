"""What one event looks like on disk: 64 bytes of fixed layout, the same for who writes and who reads.

A journal is a header of 256 bytes and then records, nothing between them:

    ====== ========== ==== =========================================================================
    offset field      type meaning
    ====== ========== ==== =========================================================================
         0 time_ns    i64  when it happened: CLOCK_MONOTONIC, nanoseconds
         8 due_ns     i64  when it should have happened, same clock; 0 = no due time
        16 ms         u64  entry ID, first half; 0-0 = not about an entry
        24 seq        u64  entry ID, second half
        32 job        i64  the lab's job number; -1 = none
        40 deliveries u32  the server's delivery count as the writer saw it; 0 = not known
        44 note       u32  where its text begins in the side file, plus one; 0 = no text
        48 stream     u32  where the stream's name begins in the side file, plus one; 0 = no name
        52 spare           zero, for later
        63 kind       u8   position in `KINDS`, plus one; 0 = no event here
    ====== ========== ==== =========================================================================

`kind` is the last byte, and `Struct.pack_into` clears its 64 bytes before it fills them from left to right: a record
torn by SIGKILL still has kind 0, and a reader takes it for an empty place.

The side file holds the rare long text: a u32 of its length in bytes, then UTF-8. Every worker process imports this
module, so it needs nothing but `struct`.
"""

from __future__ import annotations

from struct import Struct

MAGIC = b"slabjrnl"
VERSION = 1

#: Everything that can be told about a run. Its order is part of the format: new kinds go to the end, up to 255.
KINDS = (
    # the producer
    "adding",  # is about to add the job
    "added",  # Redis answered with the entry's ID
    "unknown",  # the reply was lost: nobody can say whether the entry exists
    "refused",  # it certainly was not added
    # a worker
    "read",  # delivered for the first time
    "claimed",  # taken over, from another consumer or by recovery
    "own",  # its own pending entry, read again after a restart or a reconnect
    "started",  # the handler runs
    "done",  # the effect exists
    "acked",  # Redis confirmed the XACK
    "failed",  # the handler raised
    "retry",  # handed back for a later attempt
    "dead",  # moved to the dead-letter stream
    "disowned",  # found out that another consumer holds it now
    "deleted",  # still pending, but no longer in the stream
    "healed",  # the group was created again after NOGROUP
    "reconnected",  # Redis was away and is back
    # the lab
    "worker_up",  # the process exists
    "worker_ready",  # it is about to read its first message
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
KIND_NUMBER = {kind: number for number, kind in enumerate(KINDS, start=1)}
#: The kinds with which an entry comes into a worker's hands.
DELIVERIES = ("read", "claimed", "own")

#: Name and `struct` code of each field, in the order on disk; little-endian, no alignment.
FIELDS = (
    ("time_ns", "q"),
    ("due_ns", "q"),
    ("ms", "Q"),
    ("seq", "Q"),
    ("job", "q"),
    ("deliveries", "I"),
    ("note", "I"),
    ("stream", "I"),
    ("kind", "B"),
)
SPARE_BYTES = 11  # before the kind, the last field
RECORD = Struct("<" + "".join(code for _, code in FIELDS[:-1]) + f"{SPARE_BYTES}x" + FIELDS[-1][1])

#: magic, version, bytes a record, incarnation, process ID, process name in UTF-8 padded with zeros
HEADER = Struct("<8sHHII236s")
HEADER_RECORDS = HEADER.size // RECORD.size
LONGEST_NAME = 236

TEXT_LENGTH = Struct("<I")

assert RECORD.size == 64
assert HEADER.size % RECORD.size == 0


def parse_entry(entry: str) -> tuple[int, int]:
    """The two halves of an entry ID; (0, 0) for no entry. Raises ValueError for anything that is not an ID."""
    if not entry:
        return 0, 0
    ms, _, seq = entry.partition("-")
    return int(ms), int(seq)
