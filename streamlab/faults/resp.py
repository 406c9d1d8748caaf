"""Redis's wire format, RESP2 and RESP3: where a frame ends in a stream of bytes, and what it says.

A frame is one whole request or one whole reply. Bytes come in pieces of any length, and from anybody: what is no RESP
makes a `Splitter` give up, and nothing worse.
"""

from __future__ import annotations

from typing import Any

import hiredis

#: More than this of one frame, or of one line of it, is not looked at: the splitter gives up.
MAX_FRAME = 64 << 20
MAX_LINE = 64 << 10  # Redis's own limit for an inline command
_MAX_COUNT = 1 << 20  # elements of one array

_LINES = frozenset(b"+-:,#(_")  # the value is the rest of the line
_BULKS = frozenset(b"$=!")  # a length, then that many bytes and an end of line
_LISTS = frozenset(b"*~>")  # a count, then that many values
_PAIRS = frozenset(
    b"%|"
)  # a count, then twice that many values; behind those of `|` comes the value that they describe
_ATTRIBUTE = ord("|")
_ARRAY, _BULK = ord("*"), ord("$")
_LONGEST = 10  # digits of a size
_SHORT = range(2, _LONGEST + 2)
_NOTHING = frozenset((b"*", b"*0", b"*-1"))  # a request of no words: Redis says nothing to it


class Splitter:
    r"""Cuts a stream of bytes into frames.

        >>> splitter = Splitter()
        >>> splitter.feed(b"+OK\r\n*2\r\n:1\r\n$3\r\na")
        [b'+OK\r\n']
        >>> splitter.feed(b"bc\r\n")
        [b'*2\r\n:1\r\n$3\r\nabc\r\n']

    Args:
        requests: the stream is a client's: arrays of bulk strings, and inline commands.

    Attributes:
        broken: what came is no RESP, or too large; no frame will follow.
        held: bytes of a frame that is not yet whole.
    """

    def __init__(self, *, requests: bool = False) -> None:
        self.broken = False
        self._requests = requests
        self._rest = bytearray()
        self._at = 0  # where in the rest the next value begins; a bulk string may put it beyond the end
        self._owed = 1  # values that the frame still lacks

    @property
    def held(self) -> int:
        """How many bytes of a frame that is not yet whole are kept."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that are whole now; what is left of `data` is kept until more comes."""
        if self.broken:
            return []
        text: bytes | bytearray = data
        if self._rest:
            self._rest += data
            text = self._rest
        frames: list[bytes] = []
        start, size = 0, len(text)
        at, owed = self._at, self._owed  # this loop is the price of every byte: a bulk string is its short way
        while at <= size:
            if not owed:
                frames.append(bytes(text[start:at]))
                start, owed = at, 1
                continue
            end = text.find(b"\r\n", at)
            if end - at in _SHORT and text[at] == _BULK and at != start and (digits := text[at + 1 : end]).isdigit():
                at, owed = end + int(digits) + 4, owed - 1
                continue
            step = self._step(text, start, at, end, owed)
            if step is None:
                break
            at, owed = step
        self.broken = self.broken or size - start > MAX_FRAME or at - start > MAX_FRAME
        if self.broken:
            self._rest = bytearray()
            return frames
        self._at, self._owed = at - start, owed
        if text is self._rest:
            del self._rest[:start]
        else:
            self._rest += text[start:]
        return frames

    def _step(self, text: bytes | bytearray, start: int, at: int, end: int, owed: int) -> tuple[int, int] | None:
        """Step over one value, or over the head of one that contains others.

        Returns where the next one begins and how many are owed then; None where the line at `at`, which ends at `end`,
        is not whole yet, or is no RESP.
        """
        kind = text[at] if at < len(text) else 0
        if self._requests and at == start and kind not in {0, _ARRAY}:  # an inline command ends with its line
            end = text.find(b"\n", at)
            self.broken = (end if end >= 0 else len(text)) - at > MAX_LINE
            return (end + 1, 0) if end >= 0 and not self.broken else None
        if end < 0:
            self.broken = len(text) - at > MAX_LINE
            return None
        if self._requests and kind != (_ARRAY if at == start else _BULK):
            self.broken = True
            return None
        if kind in _LINES:
            return end + 2, owed - 1
        return self._sized(kind, bytes(text[at + 1 : end]), end + 2, owed)

    def _sized(self, kind: int, digits: bytes, at: int, owed: int) -> tuple[int, int] | None:
        """The same, for a value whose size comes first."""
        null = digits == b"-1"
        if null or (len(digits) <= _LONGEST and digits.isdigit()):
            size = 0 if null else int(digits)
            if kind in _BULKS:
                return (at if null else at + size + 2), owed - 1
            if size <= _MAX_COUNT and kind in _LISTS:
                return at, owed + size - 1
            if size <= _MAX_COUNT and kind in _PAIRS:
                return at, owed + 2 * size - (kind != _ATTRIBUTE)
        self.broken = True
        return None


def decode(frame: bytes) -> Any:
    """What a reply says: bytes, int, list, dict, None, and hiredis.ReplyError for an error, also in a list.

    Raises ValueError for what cannot be decoded.
    """
    if frame.startswith(b"!"):  # which hiredis does not know
        return hiredis.ReplyError(frame.partition(b"\r\n")[2].rstrip().decode(errors="replace"))
    reader = hiredis.Reader()
    reader.feed(frame)
    try:
        return reader.gets()
    except (hiredis.HiredisError, TypeError) as error:  # TypeError: a map whose key is a list
        raise ValueError(str(error)) from error


def words(frame: bytes) -> list[bytes]:
    """The words of a request, the command first; none for an empty one, which Redis does not answer.

    Raises ValueError for what cannot be decoded.
    """
    if not frame.startswith(b"*"):
        return frame.split()
    if frame[: frame.index(b"\r\n")] in _NOTHING:
        return []
    found = decode(frame)
    if not isinstance(found, list) or not all(isinstance(word, bytes) for word in found):
        raise ValueError("a request is an array of bulk strings")
    return found
