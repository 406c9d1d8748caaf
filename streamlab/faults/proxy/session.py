"""The RESP session of a connection: which reply answers which request, and which reply is withheld.

hiredis decodes replies. Requests come from anybody: they are parsed here, within limits, and other bytes than RESP end
the parsing and nothing else.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from typing import Any, NamedTuple

import hiredis

from streamlab.faults.proxy.tap import TAPPED, Event, Process, Tap
from streamlab.faults.proxy.toxics import CutReply, Toxic

#: A request or reply, or a line of a request, that is longer ends the parsing.
MAX_SIZE = 64 << 20
MAX_LINE = 64 << 10  # Redis's own limit for an inline command

_HEAD = re.compile(rb"\*(-1|\d{1,6})\r\n|(?!\*)([^\n]*)\n")  # an array of so many words, or an inline command
_WORD = re.compile(rb"\$(\d{1,8})\r\n")

# Behind these, replies no longer come one for one; DEBUG PROTOCOL sends attributes, which hiredis takes for replies.
_OPAQUE = {
    b"SUBSCRIBE",
    b"PSUBSCRIBE",
    b"SSUBSCRIBE",
    b"MONITOR",
    b"SYNC",
    b"PSYNC",
    b"CLIENT REPLY",
    b"DEBUG PROTOCOL",
}
_LEAVE_MULTI = {b"EXEC", b"DISCARD", b"RESET"}
_INCOMPLETE = object()


class Requests:
    r"""Splits what a client sends into requests, each a list of words. Bytes may come in pieces of any length.

        >>> requests = Requests()
        >>> requests.feed(b"PING\r\n*2\r\n$3\r\nGET\r\n$1")
        [[b'PING']]
        >>> requests.feed(b"\r\na\r\n")
        [[b'GET', b'a']]

    Attributes:
        broken: what came is no request, or too long; nothing more is parsed.
    """

    def __init__(self) -> None:
        self.broken = False
        self._rest = bytearray()
        self._words: list[bytes] = []
        self._owed = 0  # words that the request still lacks
        self._size = 0  # of the words

    def feed(self, data: bytes) -> list[list[bytes]]:
        """Return the requests that are whole now, and keep the rest until more comes."""
        found: list[list[bytes]] = []
        if self.broken:
            return found
        text, at = self._rest, 0
        text += data
        while head := (_WORD if self._owed else _HEAD).match(text, at):
            if self._owed:
                begin, end = head.end(), head.end() + int(head[1])
                if len(text) < end + 2:
                    break
                self._words.append(bytes(text[begin:end]))
                self._owed -= 1
                self._size += end + 2 - at
                at = end + 2
            else:
                self._words = [] if head[1] else head[2].split()
                self._owed = max(0, int(head[1] or 0))
                self._size = 0
                at = head.end()
            if not self._owed and self._words:  # Redis does not answer an empty request
                found.append(self._words)
        del text[:at]
        rest = len(text)
        self.broken = self._size + rest > MAX_SIZE or (not head and (b"\r\n" in text or rest > MAX_LINE))
        if self.broken:
            text.clear()
        return found


class Passed(NamedTuple):
    """What becomes of bytes from Redis.

    Attributes:
        data: what the client gets.
        events: what a custom worker knows when it has got it.
        cut: a reply was withheld: the connection ends here.
    """

    data: bytes
    events: list[Event]
    cut: bool = False


class _Request(NamedTuple):
    command: bytes
    words: Sequence[bytes]
    cut: CutReply | None


class Session:
    """Matches replies to requests, for the tap and for `CutReply`.

    It understands pipelines, RESP3's push messages, and MULTI with EXEC. Behind what it does not understand everything
    passes unparsed. A script is one command.

    Args:
        process: who is at the client's end.
        tap: is given each request with its reply.
        toxics: those of the process; the list may change at any time.
    """

    def __init__(self, process: Process, tap: Tap, toxics: Sequence[Toxic]) -> None:
        self._process = process
        self._tap = tap
        self._toxics = toxics
        self._opaque = False  # no more requests are parsed; replies to those before still are
        self._requests = Requests()
        self._replies = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._size = 0  # of what the reader was fed since the last reply
        self._waiting: deque[_Request] = deque()
        self._queued: list[_Request] | None = None  # since MULTI
        self._unsent = b""  # the beginning of a reply that will be cut

    def request(self, data: bytes) -> None:
        """Parse bytes on their way to Redis, before they are sent."""
        if self._opaque:
            return
        for words in self._requests.feed(data):
            command = words[0].upper()
            if command in _OPAQUE or b" ".join(words[:2]).upper() in _OPAQUE:
                self._opaque = True
                return
            cuts = [cut for cut in self._cuts() if cut.cuts(command)]  # each of them counts it
            self._waiting.append(_Request(command, words if command in TAPPED else (), cuts[0] if cuts else None))
        self._opaque = self._requests.broken

    def reply(self, data: bytes) -> Passed:
        """Parse bytes from Redis, and say what of them passes."""
        if self._opaque and not self._waiting:
            return Passed(data, [])
        unsent = self._unsent + data
        begin, end, at = 0, len(unsent), len(self._unsent)  # where a reply begins; what passes; what is parsed
        events: list[Event] = []
        cut = False
        # A reply ends with a line: fed line by line, it is known where.
        for piece in data.splitlines(keepends=True) if self._cuts() else (data,):
            at += len(piece)
            for reply in self._parsed(piece):
                known, cuts = self._answer(reply)
                if cuts and not cut:
                    cut, end = True, begin
                if not cut:
                    events += known
                begin = at
        if cut:
            self._opaque = True  # what a client sends behind a cut gets no reply either
            self._waiting.clear()
        elif self._waiting and self._active(self._with_queued(self._waiting[0])):
            end = begin
        self._unsent = b"" if cut else unsent[end:]
        return Passed(unsent[:end], events, cut)

    def delivered(self, events: Sequence[Event]) -> None:
        """Record that the bytes which told these events have reached the client."""
        self._tap.delivered(self._process, events)

    def _parsed(self, data: bytes) -> Iterator[Any]:
        """Yield the replies that are whole now."""
        self._size += len(data)
        try:
            self._replies.feed(data)
            while (reply := self._replies.gets()) is not _INCOMPLETE:
                self._size = 0
                yield reply
            broken = self._size > MAX_SIZE
        except (hiredis.HiredisError, TypeError, MemoryError):  # TypeError: a map whose key is a list
            broken = True
        if broken:
            self._opaque = True
            self._waiting.clear()
            self._replies = hiredis.Reader(notEnoughData=_INCOMPLETE)  # releases what it has kept

    def _answer(self, reply: Any) -> tuple[list[Event], list[CutReply]]:
        """Tap the requests that this answers; return what the client would know, and what withholds it."""
        if isinstance(reply, hiredis.PushNotification):
            return [], []
        if not self._waiting:  # a last error before Redis closes, or something that is not understood here
            self._opaque = self._opaque or not isinstance(reply, hiredis.ReplyError)
            return [], []
        answered = self._answered(self._waiting.popleft(), reply)
        cuts = self._active([request for request, _ in answered])
        events = [self._tap.answered(self._process, it.command, it.words, each) for it, each in answered]
        for cut in cuts:
            cut.hit += 1
            self._tap.cut(self._process, cut.command.upper())
        return list(chain.from_iterable(events)), cuts

    def _answered(self, request: _Request, reply: Any) -> list[tuple[_Request, Any]]:
        """Return requests with their replies: this one; or none while MULTI queues; or with EXEC all that it queued."""
        if self._queued is not None and reply == b"QUEUED":
            self._queued.append(request)
            return []
        requests = self._with_queued(request)
        if request.command == b"MULTI" and reply == b"OK":
            self._queued = []
        elif request.command in _LEAVE_MULTI:
            self._queued = None
        if request.command == b"EXEC" and isinstance(reply, list):
            return [(request, None), *zip(requests[1:], chain(reply, repeat(None)), strict=False)]
        return [(request, reply), *((it, None) for it in requests[1:])]

    def _with_queued(self, request: _Request) -> list[_Request]:
        return [request, *(self._queued or ())] if request.command == b"EXEC" else [request]

    def _cuts(self) -> list[CutReply]:
        return [toxic for toxic in self._toxics if isinstance(toxic, CutReply)]

    def _active(self, requests: Sequence[_Request]) -> list[CutReply]:
        return [it.cut for it in requests if it.cut and it.cut in self._toxics]
