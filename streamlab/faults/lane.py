"""One direction of a connection through the proxy: the sockets at its ends, and the way of the bytes between them."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from streamlab.faults.trouble import Held, Late, Lost, Narrow, Trouble

_HIGH, _LOW = 256 << 10, 64 << 10  # bytes under way at which a source is read no longer, and is read again
_SLICE = 0.02  # seconds' worth of bytes that a narrow lane lets through at a time
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

Tell = Callable[[], None]


class Owner(Protocol):
    """Whose an end is: a relay."""

    def made(self, end: End) -> None:
        """It is connected."""

    def came(self, end: End, data: bytes) -> None:
        """Bytes have come."""

    def ended(self, end: End) -> None:
        """Nothing more will come; maybe the end is `lost` altogether."""

    def pump(self) -> None:
        """It can be written to again."""


class End(asyncio.Protocol):
    """One of a connection's two sockets."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self.full = False  # what is written now would only pile up
        self.lost = False

    @property
    def connected(self) -> bool:
        """Whether it ever was connected."""
        return self._transport is not None

    @property
    def open(self) -> bool:
        """Whether bytes can be written to it now."""
        return self._transport is not None and not self.full and not self.lost

    def write(self, data: bytes) -> None:
        """Send bytes to who is at this end."""
        if self._transport and not self._transport.is_closing():
            self._transport.write(data)

    def flow(self, on: bool) -> None:
        """Go on reading, or read no longer for now."""
        if self._transport and not self._transport.is_closing():
            if on:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def hang_up(self, *, half: bool = False) -> None:
        """Close it behind what was written; `half`: only say that nothing more will come."""
        if self._transport and not self._transport.is_closing():
            if half and self._transport.can_write_eof():
                self._transport.write_eof()
            else:
                self._transport.close()

    def reset(self) -> None:
        """Close it at once, with a RST."""
        if self._transport and not self.lost:
            raw = self._transport.get_extra_info("socket")
            if raw and raw.fileno() >= 0 and raw.family != socket.AF_UNIX:  # none: it is being closed already
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._transport.abort()

    # ------------------------------------------------------------------------------------------ asyncio's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is connected."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._owner.made(self)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        self._owner.came(self, data)

    def eof_received(self) -> bool:
        """Nothing more will come; it can still be written to, but for TLS, which knows no half a connection."""
        self._owner.ended(self)
        return self._transport is not None and self._transport.get_extra_info("ssl_object") is None

    def connection_lost(self, exc: Exception | None) -> None:
        """It is no more."""
        self.lost = True
        self._owner.ended(self)

    def pause_writing(self) -> None:
        """Who is at this end does not read as fast as we write."""
        self.full = True

    def resume_writing(self) -> None:
        """There is room again."""
        self.full = False
        self._owner.pump()


class Lane:
    """The way of the bytes in one direction. Whatever happens on it, they arrive in order.

    Args:
        source: where they come from.
        sink: where they go.
        troubles: what befalls them; the list may change at any time, and `pump` makes that felt.
        finish: called when the source's end has arrived behind the last byte.
    """

    def __init__(self, source: End, sink: End, troubles: Sequence[Trouble], finish: Callable[[], None]) -> None:
        self._torn = False
        self._source = source
        self._sink = sink
        self._troubles = troubles
        self._finish = finish
        self._loop = asyncio.get_running_loop()
        self._under_way: deque[tuple[float, bytes, Tell | None]] = deque()  # when each is due; no bytes: the end
        self._size = 0
        self._free_at = 0.0  # when a narrow lane has let through what it was given last
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False

    @property
    def torn(self) -> bool:
        """Whether bytes were lost, and no more are: what follows them cannot be understood."""
        return self._torn and not any(isinstance(trouble, Lost) for trouble in self._troubles)

    def swallow(self, data: bytes) -> bool:
        """Whether these bytes are lost."""
        for trouble in self._troubles:
            if isinstance(trouble, Lost):
                trouble.hit += len(data)
                self._torn = True
                return True
        return False

    def push(self, data: bytes, tell: Tell | None = None) -> None:
        """Send bytes on their way; `tell` is called as they arrive. Behind the end nothing is sent."""
        if self._ended:
            return
        if not self._troubles and not self._under_way and self._sink.open:
            if tell:
                tell()
            self._sink.write(data)
            return
        now = self._loop.time()
        due = now
        for trouble in self._troubles:
            trouble.hit += len(data)
            if isinstance(trouble, Late):
                due += trouble.seconds()
        self._under_way.append((due, data, tell))
        self._size += len(data)
        if self._size > _HIGH:
            self._source.flow(False)
        self.pump()

    def end(self) -> None:
        """The source has ended; the news goes the way of the bytes, behind them."""
        if not self._ended:
            self._ended = True
            if not self.swallow(b""):
                late = sum(trouble.seconds() for trouble in self._troubles if isinstance(trouble, Late))
                self._under_way.append((self._loop.time() + late, b"", None))
                self.pump()

    def pump(self) -> None:
        """Let through what may pass now; come back when the rest may."""
        self.stop()
        if self._sink.lost:  # only the end of the source is still news
            self._under_way = deque(item for item in self._under_way if not item[1])
            self._size = 0
        held = any(isinstance(trouble, Held) for trouble in self._troubles)
        rate = min((trouble.rate for trouble in self._troubles if isinstance(trouble, Narrow)), default=0.0)
        while self._under_way and not held and (self._sink.open or self._sink.lost):
            due, data, tell = self._under_way[0]
            now = self._loop.time()
            when = max(due, self._free_at) if rate else due
            if when > now:
                self._timer = self._loop.call_at(when, self.pump)
                return
            rest = b""
            if rate and data:
                share = max(1, int(rate * _SLICE))
                data, rest = data[:share], data[share:]
                self._free_at = now + len(data) / rate
            if rest:
                self._under_way[0] = due, rest, tell
            else:
                self._under_way.popleft()
            self._size -= len(data)
            if not data:
                self._finish()
                return
            if tell and not rest:
                tell()
            self._sink.write(data)
        if self._size <= _LOW:
            self._source.flow(True)

    def stop(self) -> None:
        """Do not come back by yourself."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
