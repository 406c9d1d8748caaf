"""One connection through the proxy: a client's socket, the one to Redis that is made for it, and a lane each way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from streamlab.errors import StreamlabError
from streamlab.faults.conversation import Conversation
from streamlab.faults.lane import End, Lane
from streamlab.faults.trouble import Trouble

#: Connects to Redis, with what its argument makes for a protocol.
Dial = Callable[[Callable[[], End]], Awaitable[Any]]


class Relay:
    """Passes on what a client and Redis say, as `troubles` let it, while a conversation listens.

    The end of one side is passed on as well, behind its last byte: when a client is gone, Redis hears of it at once,
    and gives nothing to a ghost. Only a wire that is held keeps the news back, as a real one does.

    Args:
        requests: the troubles of the bytes to Redis.
        replies: those of the bytes from it.
        conversation: listens.
        dial: connects to Redis.
        accept: asked, when the client is connected, whether to go on.
        gone: told when both sockets are closed.
    """

    def __init__(
        self,
        *,
        requests: Sequence[Trouble],
        replies: Sequence[Trouble],
        conversation: Conversation,
        dial: Dial,
        accept: Callable[[Relay], bool],
        gone: Callable[[Relay], None],
    ) -> None:
        self.client, self._redis = End(self), End(self)
        self._requests = Lane(self.client, self._redis, requests, self._client_ended)
        self._replies = Lane(self._redis, self.client, replies, self._redis_ended)
        self._conversation = conversation
        self._dial = dial
        self._dialling: asyncio.Task[None] | None = None
        self._accept = accept
        self._gone = gone

    @property
    def torn(self) -> bool:
        """Whether bytes of it were lost, and no more are."""
        return self._requests.torn or self._replies.torn

    def pump(self) -> None:
        """Let through what may pass now."""
        self._requests.pump()
        self._replies.pump()

    def reset(self) -> None:
        """End it at once, on both sides, by RST."""
        self.client.reset()
        self._redis.reset()

    # ------------------------------------------------------------------------------------------ the ends' calls

    def made(self, end: End) -> None:
        """The client is connected, or Redis is."""
        if end is self.client:
            if self._accept(self):
                self._dialling = asyncio.create_task(self._connect())
            else:
                self.client.reset()
        elif self.client.lost:
            self._redis.reset()
        else:
            self._requests.pump()

    def came(self, end: End, data: bytes) -> None:
        """Bytes have come; what is lost on its way to Redis was never said."""
        if end is self.client:
            if not self._requests.swallow(data):
                self._conversation.asked(data)
                self._requests.push(data)
            return
        answered = self._conversation.answered(data)
        if answered.forward and not self._replies.swallow(answered.forward):
            tell = partial(self._conversation.learned, answered.told) if answered.told else None
            self._replies.push(answered.forward, tell)
        if answered.over:
            self._replies.end()
            self._redis.reset()

    def ended(self, end: End) -> None:
        """One side says no more, or is gone."""
        (self._requests if end is self.client else self._replies).end()
        if self.client.lost and not self._redis.connected and self._dialling:
            self._dialling.cancel()
        if end.lost:
            self.pump()  # what was meant for it will not arrive
        if self.client.lost and (self._redis.lost or not self._redis.connected):
            self._requests.stop()
            self._replies.stop()
            self._gone(self)

    async def _connect(self) -> None:
        try:
            await self._dial(lambda: self._redis)
        except (OSError, StreamlabError, ValueError):
            self.client.reset()  # as near to "connection refused" as one comes who has accepted already

    def _client_ended(self) -> None:
        self._redis.hang_up(half=not self.client.lost)

    def _redis_ended(self) -> None:
        self.client.hang_up()
        self._redis.hang_up()
