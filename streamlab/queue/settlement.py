"""What happens to a message after its handler: acknowledged, scheduled for a retry, or dead-lettered.

Retry and dead letter are conditional on the message still being this consumer's. Acknowledging is not: the effect
exists, whoever the message is assigned to by now.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from typing import Any

from redis.exceptions import RedisError, ResponseError

from streamlab.queue import scripts
from streamlab.queue.connection import Command, Connection, Part, Reply
from streamlab.queue.errors import PermanentError, is_elsewhere, is_final, is_group_gone
from streamlab.queue.keys import dead_stream, failures_hash, to_bytes
from streamlab.queue.message import Message, Observer

log = logging.getLogger(__name__)

_REMEMBER = 7 * 24 * 3600  # seconds that the errors of a message are kept if it is never delivered again

#: The names at the head of a dead letter, in order. The message's own fields follow as they were, so that no field of
#: a message can pass for one of the head's.
HEAD = ("failures", "id", "reason", "error", "deliveries", "consumer", "buried_at")
_PLACE_OF_ID = 2 * HEAD.index("id") + 2  # among the items of a letter, from 1


class Settlement:
    """Settles one consumer's messages. The acknowledgements that are posted leave with the connection's next command.

    Args:
        connection: connection to Redis.
        stream: key of the stream.
        group: the consumer group.
        consumer: the consumer's name.
        claim_after: seconds after which an idle message may be claimed.
        max_deliveries: after so many deliveries without success a message is dead-lettered.
        retry_delay: seconds before the second delivery; doubled at each.
        observe: told each settlement.

    Attributes:
        done: messages whose handler has returned and whose XACK is still to be posted.
    """

    def __init__(
        self,
        connection: Connection,
        stream: str,
        group: str,
        consumer: str,
        *,
        claim_after: float,
        max_deliveries: int,
        retry_delay: float,
        observe: Observer,
    ) -> None:
        self.done: list[Message] = []
        self._connection = connection
        self._stream, self._group, self._consumer = to_bytes(stream), to_bytes(group), to_bytes(consumer)
        self._claim_after = claim_after
        self._max_deliveries = max_deliveries
        self._retry_delay = retry_delay
        self._observe = observe
        self._dead = to_bytes(dead_stream(stream, group))
        self._failures = to_bytes(failures_hash(stream, group))
        self._posted: list[list[Message]] = []  # acknowledgements on their way, oldest first
        self._last: Reply  # to the newest of them
        self._error: Exception | None = None  # what Redis answered to one of them
        self._retry_at: dict[bytes, float] = {}  # when (monotonic) each message that waits for a retry is due

    def post(self) -> None:
        """Let the acknowledgements of what is done leave with the next command. Raises what the last ones met."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        if not self.done:
            return
        messages = self.done[:]
        del self.done[: len(messages)]  # another thread may append meanwhile
        self._posted.append(messages)
        again = [message.key for message in messages if message.deliveries > 1]
        if again:  # they may have left errors behind
            self._connection.post(("HDEL", self._failures, *again), then=self._note)
        self._last = self._connection.post(
            ("XACK", self._stream, self._group, *[message.key for message in messages]), then=self._acknowledged
        )[0]

    def flush(self) -> None:
        """Acknowledge what is done, now. If the connection fails, the next time says it again."""
        self.post()
        if self._posted:
            try:
                self._connection.get(self._last)
            finally:
                self._error = None

    def unconfirmed(self) -> list[bytes]:
        """Entry IDs of messages that are done and, for all that is known, still pending."""
        return [message.key for messages in (self.done, *self._posted) for message in messages]

    def failed(self, message: Message, error: BaseException) -> None:
        """Settle a message whose handler raised: dead letter or retry."""
        self._observe("failed", (message,), f"{type(error).__name__}: {error}"[:500])
        if isinstance(error, PermanentError):
            self._dead_letter(message, "permanent", error)
        elif message.deliveries >= self._max_deliveries:
            self._dead_letter(message, "deliveries", error)
        else:
            self._retry(message, error)

    def within_limit(self, messages: Sequence[Message]) -> list[Message]:
        """Dead-letter those that were delivered too often (their workers died before they could); return the others."""
        for message in messages:
            self._retry_at.pop(message.key, None)
            if message.deliveries > self._max_deliveries:
                self._dead_letter(message, "deliveries", None)
        return [message for message in messages if message.deliveries <= self._max_deliveries]

    def waiting(self) -> list[bytes]:
        """Entry IDs of messages that wait for a retry which is not due yet, pending for this consumer."""
        now = time.monotonic()
        for key in [key for key, due in list(self._retry_at.items()) if due <= now]:
            self._retry_at.pop(key, None)
        return list(self._retry_at)

    def next_retry(self) -> float:
        """When (monotonic) the first retry is due; infinity if none is scheduled."""
        return min(list(self._retry_at.values()), default=float("inf"))

    def _acknowledged(self, reply: Any) -> None:
        messages = self._posted.pop(0)
        if isinstance(reply, Exception):
            self.done += messages
            self._note(reply)
        else:
            self._observe("acked", messages)

    def _note(self, reply: Any) -> None:
        if isinstance(reply, ResponseError):  # a lost connection shows at the next command, too
            self._error = reply

    def _retry(self, message: Message, error: BaseException) -> None:
        """Leave a failed message pending, to be claimed by anybody after a delay.

        Redis has no delayed delivery. But what counts for claiming is the idle time, and XCLAIM can set it: an entry
        that is made to look `claim_after - delay` old becomes claimable after `delay`. It cannot be made younger than
        now, which is why `claim_after` is the longest delay.
        """
        delay = min(self._retry_delay * 2 ** (message.deliveries - 1), self._claim_after)
        idle = max(0, int((self._claim_after - delay) * 1000))
        status = self._connection.run(
            scripts.RETRY, self._stream, self._failures,
            self._group, self._consumer, message.key, idle, self._failure(message, error), _REMEMBER,
        )  # fmt: skip
        if status == scripts.OURS:
            self._retry_at[message.key] = time.monotonic() + delay
            self._observe("retry", (message,), f"{delay:g} s")
        else:
            self._not_ours(message, status, error)

    def _dead_letter(self, message: Message, reason: str, error: BaseException | None) -> None:
        """Move a message to the dead letters and acknowledge it in one step, if it still is ours."""
        try:
            status = self._bury(message, reason, error)
        except ResponseError as refusal:
            if is_final(refusal) or is_elsewhere(refusal) or is_group_gone(refusal):
                raise
            log.error("cannot dead-letter message %s (%s): it stays pending", message.id, refusal)
        else:
            if status == scripts.OURS:
                self._observe("dead", (message,), reason)
            else:
                self._not_ours(message, status, error)

    def _bury(self, message: Message, reason: str, error: BaseException | None) -> int:
        failures = []
        if message.deliveries > 1:
            before = self._connection.call("HGET", self._failures, message.key)
            failures += [before] if before else []
        if error is not None:
            failures.append(self._failure(message, error))
        head: dict[str, Part] = {
            "failures": b"\n".join(failures),
            "id": message.key,
            "reason": reason,
            "error": to_bytes(_text(error)),
            "deliveries": message.deliveries,
            "consumer": self._consumer,
            "buried_at": f"{time.time():.3f}",
        }
        names = [part for name in HEAD for part in (name, head[name])]
        keys = (self._stream, self._dead, self._failures)
        arguments = (self._group, self._consumer, message.key, _PLACE_OF_ID)
        return int(
            transaction(
                self._connection,
                ("XADD", self._dead, "*", *names, *message.raw),
                ("EVAL", scripts.BURY.text, scripts.BURY.keys, *keys, *arguments),
            )[1]
        )

    def _not_ours(self, message: Message, status: int, error: BaseException | None) -> None:
        """Say what becomes of a message that is no longer this consumer's."""
        self._observe("disowned", (message,), "")
        if status == scripts.ANOTHERS:
            return  # claimed meanwhile: the other one settles it
        gone = {scripts.NOT_PENDING: "is no longer pending (XACK, XGROUP DELCONSUMER or a new group)"}
        log.error(
            "message %s of stream %r failed (%s) and %s by somebody else: it will not be tried again",
            message.id,
            self._stream.decode(errors="replace"),
            _text(error) or "delivered too often",
            gone.get(status, "was deleted from the stream (XDEL, XTRIM)"),
        )

    def _failure(self, message: Message, error: BaseException) -> bytes:
        record = {
            "delivery": message.deliveries,
            "consumer": self._consumer.decode(errors="replace"),
            "at": round(time.time(), 3),
            "error": _text(error),
        }
        return json.dumps(record).encode()


def transaction(connection: Connection, *commands: Command) -> list[Any]:
    """Run commands in MULTI and EXEC; their replies. Raises the first error among them, as `Connection.get`."""
    replies = connection.post(("MULTI",), *commands, ("EXEC",))
    errors: list[Exception] = []
    results: list[Any] = []
    for reply in replies:  # all of them: the connection must be left without open replies
        try:
            results = connection.get(reply)
        except RedisError as error:
            errors.append(error)
    errors += [result for result in results if isinstance(result, Exception)]
    if errors:
        raise errors[0]
    return results


def _text(error: BaseException | None) -> str:
    """An error in one line of bounded length: a message may choose what its error says."""
    if error is None:
        return ""
    line = " ".join(str(error).split())
    return f"{type(error).__name__}: {line}"[:500].encode("utf-8", "backslashreplace").decode()
