"""Reading: XREADGROUP, asked ahead of time where there is a backlog, and bounded in messages and bytes.

Where the server has XREADGROUP CLAIM (Redis 8.4), a read brings idle pending entries first, then new ones, and a blocked
one wakes when an entry becomes idle enough. Where it has MAXSIZE (8.10), the server bounds the reply, too. Each option is
tried, and left out from then on if the server answers that it does not know it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from redis.exceptions import ResponseError

from streamlab.queue.connection import Command, Connection, Part, Reply
from streamlab.queue.errors import ReplyLostError
from streamlab.queue.keys import to_bytes
from streamlab.queue.message import Message

_READ_BYTES = 16 << 20  # bytes that one read should bring, at most


class Reader:
    """Reads for one consumer: `ask`, and then `answer`.

    Args:
        connection: connection to Redis; its other users' replies stay in order.
        stream: key of the stream.
        group: the consumer group.
        consumer: the consumer's name.
        claim_after: seconds after which an idle message may be claimed.
    """

    def __init__(self, connection: Connection, stream: str, group: str, consumer: str, claim_after: float) -> None:
        self._connection = connection
        self._group = ("GROUP", to_bytes(group), to_bytes(consumer))
        self._streams = ("STREAMS", to_bytes(stream), ">")
        self._options: list[tuple[str, int]] = [("MAXSIZE", _READ_BYTES), ("CLAIM", int(claim_after * 1000))]
        self._asked: tuple[Reply, float, int, float] | None = None  # reply, when (monotonic), COUNT, seconds of BLOCK
        self._weight = 0.0  # bytes of a message, as the last ones weighed
        self._most = 8  # messages, as long as their weight is unknown; halved where a reply was cut off
        self._cut = False

    @property
    def claims(self) -> bool:
        """Whether reads also claim; certain after the first answer."""
        return any(option[0] == "CLAIM" for option in self._options)

    @property
    def asked(self) -> bool:
        """Whether an answer is outstanding."""
        return self._asked is not None

    def bounded(self, count: int) -> int:
        """Return how many of `count` messages one reply should bring, by what messages weigh."""
        return max(1, min(count, self._most, int(_READ_BYTES / self._weight) if self._weight else count))

    def ask(self, count: int, block: float = 0.0) -> None:
        """Send the read for up to `count` messages. It waits `block` seconds for the first; 0: not at all."""
        count = self.bounded(count)
        wait: Command = ("BLOCK", max(1, int(1000 * block))) if block > 0 else ()
        options: list[Part] = [part for option in self._options for part in option]
        command = ("XREADGROUP", *self._group, "COUNT", count, *wait, *options, *self._streams)
        now = time.monotonic()
        self._asked = self._connection.post(command)[0], now, count, block
        self._connection.flush()

    def answer(self) -> tuple[list[Message], float, bool]:
        """The messages, the monotonic time at which they were asked for, and whether there are likely more.

        Where the server claims, those with more than one delivery come first. Raises as `Connection.get`.
        """
        assert self._asked is not None
        while True:
            reply, asked, count, block = self._asked
            try:
                messages = self._messages(reply)
                break
            except ReplyLostError:
                self._cut = True
                self._most = max(1, count // 2)  # perhaps it was too large for the server's output buffer
                self._asked = None
                raise
            except ResponseError as error:
                self._asked = None
                if not (self._options and "syntax" in str(error)):
                    raise
                self._options.pop(0)
                self.ask(count, block)
            except BaseException:
                self._asked = None
                raise
        self._asked = None
        self._most += self._most // 8 + 1 if self._cut else self._most
        if messages:
            sample = messages[:: max(1, len(messages) // 4)]
            self._weight = max(sum(map(len, message.raw)) for message in sample)
        return messages, asked, len(messages) == count

    def ahead(self) -> Sequence[tuple[Message, float]]:
        """For the heartbeat: the messages of an answer that is outstanding while others are handled."""
        asked = self._asked
        if asked is None or asked[3] > 0:
            return ()
        try:
            return [(message, asked[1]) for message in self._messages(asked[0])]
        except Exception:  # the thread that reads meets it, too
            return ()

    def _messages(self, reply: Reply) -> list[Message]:
        streams = self._connection.get(reply)
        rows: list[Any] = streams[0][1] if streams else []
        if rows and len(rows[0]) > 2:  # CLAIM: the idle time, and the deliveries before this one
            return [Message(key, raw, deliveries + 1) for key, raw, _, deliveries in rows]
        return [Message(key, raw) for key, raw in rows]
