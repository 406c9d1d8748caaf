"""The RESP session of a connection: which reply answers which request, and which reply is withheld.

Other bytes than RESP, inline commands among them, end the parsing and nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, repeat
from typing import Any, NamedTuple

import hiredis

from streamlab.faults.proxy.tap import TAPPED, Event, Process, Tap
from streamlab.faults.proxy.toxics import CutReply, Toxic

# Behind these, replies no longer come one for one.
_OPAQUE = {b"SUBSCRIBE", b"PSUBSCRIBE", b"SSUBSCRIBE", b"MONITOR", b"CLIENT REPLY"}
_LEAVE_MULTI = {b"EXEC", b"DISCARD", b"RESET"}
_INCOMPLETE = object()


class Parser:
    """Splits bytes into what hiredis decodes: replies, and requests too, which are lists of words.

    Attributes:
        broken: what came is no RESP; nothing more is parsed.
    """

    def __init__(self) -> None:
        self.broken = False
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)

    def feed(self, data: bytes) -> Iterator[Any]:
        """Yield the values that are whole now, and keep the rest until more comes."""
        try:
            self._reader.feed(b"" if self.broken else data)
            while (value := self._reader.gets()) is not _INCOMPLETE:
                yield value
        except (hiredis.HiredisError, TypeError, MemoryError):  # TypeError: a map whose key is a list
            self.broken = True
            self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)  # releases what it has kept


class Passed(NamedTuple):
    """What becomes of bytes from Redis.

    Attributes:
        data: what the client gets.
        delivered: to be called when it has got it: records what a custom worker knows from it.
        cut: a reply was withheld: the connection ends here.
    """

    data: bytes
    delivered: Callable[[], None] | None = None
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
        self._requests, self._replies = Parser(), Parser()
        self._waiting: deque[_Request] = deque()
        self._queued: list[_Request] | None = None  # since MULTI
        self._cut: CutReply | None = None  # withholds the reply to one of the requests
        self._unsent = b""  # the beginning of a reply that will be cut

    def request(self, data: bytes) -> None:
        """Parse bytes on their way to Redis, before they are sent."""
        if self._opaque:
            return
        for words in self._requests.feed(data):
            if words == []:  # Redis does not answer it
                continue
            understood = type(words) is list and all(type(word) is bytes for word in words)
            if not understood or not _OPAQUE.isdisjoint((words[0].upper(), b" ".join(words[:2]).upper())):
                self._opaque = True
                return
            command, cut = words[0].upper(), None
            if self._cut not in self._toxics:  # else the connection ends with a reply before this one's
                cuts = (toxic for toxic in self._toxics if isinstance(toxic, CutReply) and toxic.cuts(command))
                self._cut = cut = next(cuts, None)
            self._waiting.append(_Request(command, words if command in TAPPED else (), cut))
        self._opaque = self._requests.broken

    def reply(self, data: bytes) -> Passed:
        """Parse bytes from Redis, and say what of them passes."""
        if self._opaque and not self._waiting:
            return Passed(data)
        unsent = self._unsent + data
        begin, end, at = 0, len(unsent), len(self._unsent)  # where a reply begins; what passes; what is parsed
        events: list[Event] = []
        cut = False
        # A reply ends with a line: fed line by line, it is known where.
        for piece in data.splitlines(keepends=True) if self._cut in self._toxics else (data,):
            at += len(piece)
            for reply in self._replies.feed(piece):
                known, withheld = self._answer(reply)
                if withheld:
                    cut, end = True, begin
                if not cut:
                    events += known
                begin = at
        if cut or self._replies.broken:
            self._opaque = True  # what a client sends behind a cut gets no reply either
            self._waiting.clear()
        elif self._waiting and self._active_cut(self._with_queued(self._waiting[0])):
            end = begin
        self._unsent = b"" if cut else unsent[end:]
        delivered = partial(self._tap.delivered, self._process, events) if events else None
        return Passed(unsent[:end], delivered, cut)

    def _answer(self, reply: Any) -> tuple[list[Event], bool]:
        """Tap the requests that this answers; return what the client would know, and whether it is withheld."""
        if isinstance(reply, hiredis.PushNotification):
            return [], False
        if not self._waiting:  # a last error before Redis closes, or something that is not understood here
            self._opaque = self._opaque or not isinstance(reply, hiredis.ReplyError)
            return [], False
        answered = self._answered(self._waiting.popleft(), reply)
        events = [self._tap.answered(self._process, it.command, it.words, each) for it, each in answered]
        cut = self._active_cut([request for request, _ in answered])
        if cut:
            cut.hit += 1
            self._tap.cut(self._process, cut.command.upper())
        return list(chain.from_iterable(events)), cut is not None

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

    def _active_cut(self, requests: Sequence[_Request]) -> CutReply | None:
        """Return what withholds the reply to these, unless it was lifted."""
        return next((it.cut for it in requests if it.cut in self._toxics), None)
