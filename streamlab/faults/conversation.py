"""What is said on one connection: which reply answers which request, and which reply is to be withheld."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from streamlab.faults.resp import Splitter, decode, words
from streamlab.faults.trouble import Cut
from streamlab.faults.witness import WITNESSED, Event, Speaker, Witness

# After these, replies no longer come one for one.
_ENDLESS = {b"SUBSCRIBE", b"PSUBSCRIBE", b"SSUBSCRIBE", b"MONITOR", b"SYNC", b"PSYNC"}
_LEAVE = {b"EXEC", b"DISCARD", b"RESET"}  # MULTI ends with them
_PUSH = ord(">")
_ERRORS = (b"-", b"!")


class _Asked(NamedTuple):
    command: bytes
    words: Sequence[bytes]
    cut: Cut | None


class Answered(NamedTuple):
    """What becomes of bytes that Redis sent.

    Attributes:
        forward: what the client gets.
        told: what a worker learns by getting it, to be written down in its name then.
        over: a reply was withheld: the connection ends here.
    """

    forward: bytes
    told: list[Event]
    over: bool


class Conversation:
    """Listens to one connection. Bytes may be cut anywhere; requests may be on their way before replies to others came.

    It understands pipelines, RESP3's push frames, and MULTI with EXEC. Behind the first thing that it does not
    understand (other bytes than RESP, SUBSCRIBE, MONITOR, CLIENT REPLY) everything passes as it is. A script is one
    command: what it did inside Redis cannot be seen here.

    Args:
        speaker: who is at the client's end.
        witness: is told of each request with its reply.
        cuts: which replies to withhold; may change at any time.
    """

    def __init__(self, speaker: Speaker, witness: Witness, cuts: Sequence[Cut]) -> None:
        self._deaf = False  # to requests; replies to those before are still understood
        self._speaker = speaker
        self._witness = witness
        self._cuts = cuts
        self._requests = Splitter(requests=True)
        self._replies = Splitter()
        self._open: deque[_Asked] = deque()
        self._queued: list[_Asked] | None = None  # since MULTI
        self._kept = b""  # the beginning of what may be a reply that nobody shall get

    def asked(self, data: bytes) -> None:
        """The client sends these bytes; call it before they go on to Redis."""
        if self._deaf:
            return
        for frame in self._requests.feed(data):
            try:
                said = words(frame)
            except ValueError:
                self._deaf = True
                break
            if not said:
                continue
            command = said[0].upper()
            if command in _ENDLESS or (command == b"CLIENT" and said[1:2] and said[1].upper() == b"REPLY"):
                self._deaf = True
                break
            cuts = [cut for cut in self._cuts if cut.dooms(command)]  # each of them counts it
            self._open.append(_Asked(command, said if command in WITNESSED else (), cuts[0] if cuts else None))

    def answered(self, data: bytes) -> Answered:
        """Redis sends these bytes."""
        new, data, kept = data, self._kept + data, len(self._kept)
        self._kept = b""
        told: list[Event] = []
        if self._deaf and not self._open:
            return Answered(data, told, False)
        at = kept - self._replies.held  # where in `data` the frame begins; before it, if some of it has gone on already
        end = -1  # where the client's share ends
        for frame in self._replies.feed(new):
            begin, at = at, at + len(frame)
            if frame[0] == _PUSH:
                continue
            if not self._open:  # a word of farewell, or something that is not understood here
                self._deaf = self._deaf or not frame.startswith(_ERRORS)
                continue
            asked = self._open.popleft()
            cuts = self._cuts_of(asked, frame)
            events = self._witnessed(asked, frame)
            for cut in cuts:
                cut.hit += 1
                self._witness.cut(self._speaker, cut.command.upper())
            if cuts and end < 0:
                end = max(begin, 0)
            if end < 0:
                told += events
        if end >= 0 or self._replies.broken:
            self._deaf = True  # after a cut, whatever the client still says goes nowhere
            self._open.clear()
        if end >= 0:
            return Answered(data[:end], told, True)
        if self._open and self._cuts_of(self._open[0]):
            data, self._kept = data[: max(at, 0)], data[max(at, 0) :]
        return Answered(data, told, False)

    def learned(self, told: Iterable[Event]) -> None:
        """The bytes that told this have reached the client."""
        self._witness.tell(self._speaker, told)

    def _cuts_of(self, asked: _Asked, frame: bytes = b"") -> list[Cut]:
        """What has the reply withheld. What is queued by MULTI is answered by EXEC."""
        if self._queued is not None and frame.startswith(b"+QUEUED"):
            return []
        either = [asked, *(self._queued or ())] if asked.command == b"EXEC" else [asked]
        return [one.cut for one in either if one.cut and one.cut in self._cuts]

    def _witnessed(self, asked: _Asked, frame: bytes) -> list[Event]:
        """Tell the witness; what the worker will learn from it."""
        if self._queued is not None and frame.startswith(b"+QUEUED"):
            self._queued.append(asked)
            return []
        if frame.startswith(_ERRORS):
            self._witness.error(self._speaker, asked.command, self._decoded(frame))
            return []
        if asked.command == b"MULTI":
            self._queued = []
        elif asked.command in _LEAVE:
            queued, self._queued = self._queued, None
            replies = self._decoded(frame) if queued and asked.command == b"EXEC" else None
            if isinstance(replies, list):
                return [
                    event
                    for each, reply in zip(queued or (), replies, strict=False)
                    for event in self._witness.saw(self._speaker, each.command, each.words, reply)
                ]
        elif asked.words:
            return self._witness.saw(self._speaker, asked.command, asked.words, self._decoded(frame))
        return []

    def _decoded(self, frame: bytes) -> Any:
        try:
            return decode(frame)
        except ValueError:
            return None
