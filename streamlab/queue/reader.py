"""Reading: XREADGROUP, asked ahead of time where there is a backlog, and bounded in messages and bytes.

Where the server has XREADGROUP CLAIM (Redis 8.4), a read brings idle pending entries first, then new ones, and a
blocked one wakes when an entry becomes idle enough. Where it has MAXSIZE (8.10), the server bounds the reply, too. Each
option is tried, and left out from then on if the server answers that it does not know it.
"""

import time
from collections import deque
from typing import Any, NamedTuple

from redis.exceptions import RedisError, ResponseError

from streamlab.queue.connection import Command, Connection, Reply
from streamlab.queue.errors import ReplyLostError
from streamlab.queue.message import Message
from streamlab.queue.settings import Settings

_READ_BYTES = 16 << 20  # bytes that one read should bring, at most


class _Asked(NamedTuple):
    reply: Reply
    when: float  # monotonic
    most: int
    block: float  # seconds


class Reader:
    """Reads for one consumer: `ask`, and then `answer`, in the same order.

    Attributes:
        asked: what is to be answered yet, oldest first. What is removed here and was delivered is found pending.
    """

    def __init__(self, connection: Connection, settings: Settings) -> None:
        self.asked: deque[_Asked] = deque()
        self._connection = connection
        self._names = settings.names
        self._options: list[Command] = [("MAXSIZE", _READ_BYTES), ("CLAIM", int(settings.claim_after * 1000))]
        self._weight = 1.0  # bytes of the heaviest of the last messages
        self._most = 8  # messages, as long as their weight is unknown; halved where a reply was cut off
        self._cut = False

    @property
    def claims(self) -> bool:
        """Whether reads also claim; certain after the first answer."""
        return bool(self._options)

    def bounded(self, count: int) -> int:
        """Return how many of `count` messages one reply should bring, by what messages weigh."""
        return max(1, min(count, self._most, int(_READ_BYTES / self._weight)))

    def ask(self, count: int, block: float = 0.0) -> None:
        """Send the read for up to `count` messages. It waits `block` seconds for the first; 0: not at all."""
        stream, group, consumer = self._names
        count = self.bounded(count)
        wait: Command = ("BLOCK", max(1, int(1000 * block))) if block > 0 else ()
        options = [part for option in self._options for part in option]
        command = ("XREADGROUP", "GROUP", group, consumer, "COUNT", count, *wait, *options, "STREAMS", stream, ">")
        self.asked.append(_Asked(self._connection.post(command), time.monotonic(), count, block))
        self._connection.flush()

    def answer(self) -> tuple[list[Message], bool]:
        """Return the messages of the oldest answer, and whether it is full.

        Where the server claims, those with more than one delivery come first. Raises as `Connection.get`.
        """
        asked = self.asked.popleft()
        try:
            messages = self._messages(asked)
        except ReplyLostError:
            self._cut = True
            self._most = max(1, asked.most // 2)  # perhaps it was too large for the server's output buffer
            raise
        except ResponseError as error:
            if not (self._options and "syntax" in str(error)):
                raise
            self._options.pop(0)
            self.ask(asked.most, asked.block)
            return self.answer()
        self.weigh(messages)
        return messages, len(messages) == asked.most

    def weigh(self, messages: list[Message]) -> None:
        """Learn from messages that came whole how many the next reply may bring."""
        self._most += self._most // 8 + 1 if self._cut else self._most
        sample = messages[:: max(1, len(messages) // 4)]
        self._weight = max((sum(map(len, message.raw)) for message in sample), default=self._weight) or 1.0

    def ahead(self) -> list[Message]:
        """For the heartbeat: the messages of answers that are outstanding while others are handled."""
        there = [asked for asked in self.asked.copy() if not asked.block]
        try:
            return [message for asked in there for message in self._messages(asked)]
        except RedisError:  # the thread that reads meets it, too
            return []

    def _messages(self, asked: _Asked) -> list[Message]:
        streams = self._connection.get(asked.reply)
        rows: list[Any] = streams[0][1] if streams else []
        if rows and len(rows[0]) > 2:  # CLAIM: the idle time, and the deliveries before this one
            return [Message(key, raw, deliveries + 1, asked.when) for key, raw, _, deliveries in rows]
        return [Message(key, raw, 1, asked.when) for key, raw in rows]
