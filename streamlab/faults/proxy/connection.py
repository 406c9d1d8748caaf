"""A connection through the proxy: a socket to the client, one to Redis, and a direction from each to the other."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from redis.exceptions import RedisError

from streamlab.errors import StreamlabError
from streamlab.faults.proxy.resp import Session
from streamlab.faults.proxy.tap import Process
from streamlab.faults.proxy.toxics import Bandwidth, DirectionName, Drop, Hold, Latency, Refuse, Toxic

T = TypeVar("T", bound=Toxic)

_SLICE_S = 0.02  # a limited bandwidth passes this many seconds' worth of bytes at a time
_RST_ON_CLOSE = struct.pack("ii", 1, 0)

#: Connects to Redis, with the protocol that its argument makes.
Dial = Callable[[Callable[[], asyncio.Protocol]], Awaitable[Any]]


class Direction(asyncio.Protocol):
    """One of a connection's two sockets, and what it receives, on its way to the socket of the `other` direction.

    Whatever the toxics do, bytes arrive in order, and the end of file behind them.

    Args:
        name: which toxics act on it.
        connection: whose direction it is.
        toxics: those of the process; the list may change at any time, `pump` applies the change.
    """

    other: Direction

    def __init__(self, name: DirectionName, connection: Connection, toxics: Sequence[Toxic]) -> None:
        self.transport: asyncio.Transport | None = None
        self.lost = False
        self._name = name
        self._connection = connection
        self._toxics = toxics
        #: When each is due, and what to call when it is delivered. No bytes: the end of file.
        self._queue: deque[tuple[float, bytes, Callable[[], None] | None]] = deque()
        self._free_at = 0.0  # when a limited bandwidth has passed what it was given last
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False
        self._dropped = False

    # ------------------------------------------------------------------------------------------------ the socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._connection.made(self)

    def data_received(self, data: bytes) -> None:
        self._connection.received(self, data)

    def eof_received(self) -> bool:
        """Return whether the socket stays open for writing; TLS cannot be closed one way only."""
        self._connection.ended(self)
        return self.transport is not None and self.transport.get_extra_info("ssl_object") is None

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._connection.ended(self)

    @property
    def open(self) -> asyncio.Transport | None:
        """The transport while it is open; asyncio's TLS bears no call after its end."""
        return self.transport if self.transport and not self.transport.is_closing() else None

    def reset(self) -> None:
        """Close the socket at once, with a RST."""
        if self.transport and not self.lost:
            raw = self.transport.get_extra_info("socket")
            if raw and raw.fileno() >= 0 and raw.family != socket.AF_UNIX:  # closed already, or without RST
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
            self.transport.abort()

    # ------------------------------------------------------------------------------------------------- the bytes

    def _active(self, kind: type[T]) -> list[T]:
        return [it for it in self._toxics if isinstance(it, kind) and it.direction in ("both", self._name)]

    @property
    def torn(self) -> bool:
        """Whether bytes were dropped and none are any more: what follows cannot be understood."""
        return self._dropped and not self._active(Drop)

    def drops(self, data: bytes) -> bool:
        """Whether a toxic drops these bytes."""
        toxics = self._active(Drop)
        for toxic in toxics:
            toxic.hit += len(data)
        self._dropped = self._dropped or bool(toxics)
        return bool(toxics)

    def send(self, data: bytes, delivered: Callable[[], None] | None = None) -> None:
        """Pass bytes on as the toxics allow; call `delivered` when they are written to the other socket."""
        if self._ended:
            return
        if not self._toxics and not self._queue and self.other.transport:
            self._write(data, delivered)
            return
        for toxic in (*self._active(Latency), *self._active(Bandwidth), *self._active(Hold)):
            toxic.hit += len(data)
        self._enqueue(data, delivered)

    def end(self) -> None:
        """Pass on that the socket receives no more."""
        if not self._ended:
            self._ended = True
            if not self.drops(b""):
                self._enqueue(b"", None)

    def _enqueue(self, data: bytes, delivered: Callable[[], None] | None) -> None:
        late = sum(toxic.seconds() for toxic in self._active(Latency))
        self._queue.append((asyncio.get_running_loop().time() + late, data, delivered))
        self.pump()

    def pump(self) -> None:
        """Write what may pass now, and come back when more may."""
        self.stop()
        if self.other.transport:  # else Redis has not accepted yet
            while self._queue and not self._active(Hold) and self._next():
                pass

    def stop(self) -> None:
        """Cancel the timer of `pump`."""
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _next(self) -> bool:
        """Write the first of the queue, or a slice of it; False: it is not due yet."""
        due, data, delivered = self._queue.popleft()
        rate = min((toxic.bytes_per_second for toxic in self._active(Bandwidth)), default=0.0)
        loop = asyncio.get_running_loop()
        now, when = loop.time(), max(due, self._free_at) if rate else due
        if when > now:
            self._queue.appendleft((due, data, delivered))
            self._timer = loop.call_at(when, self.pump)
            return False
        if rate:
            share = max(1, int(rate * _SLICE_S))
            if len(data) > share:
                self._queue.appendleft((due, data[share:], delivered))
                data, delivered = data[:share], None
            self._free_at = now + len(data) / rate
        if data:
            self._write(data, delivered)
        else:
            self._connection.finish(self)
        return True

    def _write(self, data: bytes, delivered: Callable[[], None] | None) -> None:
        if sink := self.other.open:
            if delivered:
                delivered()
            sink.write(data)


class Connection:
    """Passes bytes between a client and Redis, and shows them to the RESP session.

    When a client is gone, Redis hears of it at once and delivers nothing to a ghost. Only `Hold` delays this, as a real
    network would.

    Args:
        process: who is at the client's end.
        toxics: those of the process; the session has the same list.
        session: parses what passes.
        dial: connects to Redis.
        connections: the proxy's; this one is among them while it is open.
    """

    def __init__(
        self, process: Process, toxics: list[Toxic], session: Session, dial: Dial, connections: set[Connection]
    ) -> None:
        self.process = process
        self.upstream, self.downstream = Direction("requests", self, toxics), Direction("replies", self, toxics)
        self.upstream.other, self.downstream.other = self.downstream, self.upstream
        self._toxics = toxics
        self._session = session
        self._dial = dial
        self._dialling: asyncio.Task[None] | None = None
        self._connections = connections
        connections.add(self)

    def replace_toxics(self, toxics: Sequence[Toxic]) -> None:
        """Let these toxics act from now on, also on what is on its way."""
        self._toxics[:] = toxics
        if self.upstream.torn or self.downstream.torn:
            self.reset()
        else:
            self.upstream.pump()
            self.downstream.pump()

    def reset(self) -> None:
        """End it at once, on both sides, with a RST."""
        self.upstream.reset()
        self.downstream.reset()

    # ------------------------------------------------------------------------------------ the directions' calls

    def made(self, direction: Direction) -> None:
        """The client has connected, or Redis has accepted."""
        if direction is self.upstream:
            refusals = [toxic for toxic in self._toxics if isinstance(toxic, Refuse)]
            for toxic in refusals:
                toxic.hit += 1
            if refusals:
                self.reset()
            else:
                self._dialling = asyncio.create_task(self._connect())
        elif self.upstream.lost:
            self.reset()
        else:
            self.upstream.pump()

    async def _connect(self) -> None:
        try:
            await self._dial(lambda: self.downstream)
        except (OSError, StreamlabError, RedisError, ValueError, TypeError):  # nobody answers, or not at such a URL
            self.reset()  # the nearest to "connection refused" for a connection that is accepted already

    def received(self, direction: Direction, data: bytes) -> None:
        """Bytes have come. A request that is dropped was never made."""
        if direction is self.upstream:
            if not self.upstream.drops(data):
                self._session.request(data)
                self.upstream.send(data)
            return
        passed = self._session.reply(data)
        if passed.data and not self.downstream.drops(passed.data):
            self.downstream.send(passed.data, passed.delivered)
        if passed.cut:
            self.downstream.reset()

    def ended(self, direction: Direction) -> None:
        """A socket receives no more, or is closed."""
        direction.end()
        client, redis = self.upstream, self.downstream
        if client.lost and not redis.transport and self._dialling:
            self._dialling.cancel()
        if client.lost and (redis.lost or not redis.transport):
            client.stop()
            redis.stop()
            self._connections.discard(self)

    def finish(self, direction: Direction) -> None:
        """The end of file has passed a direction."""
        client, redis = self.upstream.open, self.downstream.open
        if redis and direction is self.upstream and not direction.lost and redis.can_write_eof():
            redis.write_eof()  # replies may still come
            return
        for transport in (redis, client):
            if transport:
                transport.close()
