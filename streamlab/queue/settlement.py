"""What happens to a message after its handler: acknowledged, scheduled for a retry, or dead-lettered.

Retry and dead letter are conditional on the message still being this consumer's. Acknowledging is not: the effect
exists, whichever consumer the message is assigned to by now.
"""

import json
import logging
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from redis.exceptions import RedisError, ResponseError

from streamlab.queue import scripts
from streamlab.queue.connection import Connection, Part, Reply
from streamlab.queue.errors import PermanentError, is_elsewhere, is_final, is_group_gone
from streamlab.queue.message import Message
from streamlab.queue.settings import Settings

log = logging.getLogger(__name__)

_REMEMBER = 7 * 24 * 3600  # seconds that the errors of a message are kept if it is never delivered again

#: Names and values at the head of a dead letter. The message's own fields follow as they were, so that no field of a
#: message can pass for one of the head's.
HEAD = 14


class Settlement:
    """Settles one consumer's messages.

    Attributes:
        done: messages whose handlers have returned and whose XACK is to be posted; any thread may append.
        failures: messages whose handlers have raised, and what.
    """

    def __init__(self, connection: Connection, settings: Settings) -> None:
        self.done: list[Message] = []
        self.failures: list[tuple[Message, Exception]] = []
        self._connection = connection
        self._settings = settings
        self._posted: list[list[Message]] = []  # acknowledgements on their way
        self._posting = threading.Lock()
        self._flushing = threading.Lock()
        self._error: Exception | None = None  # what Redis answered to one of them
        self._retry_at: dict[bytes, float] = {}  # when (monotonic) each message that waits for a retry is due

    def post(self, connection: Connection) -> Reply | None:
        """Let the acknowledgements of what is done leave with a connection's next command.

        Raises what Redis has answered to the last ones, if it was an error.
        """
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        with self._posting:
            messages = self.done[:]
            if not messages:
                return None
            self._posted.append(messages)
            del self.done[: len(messages)]  # another thread may append meanwhile
        stream, group, _ = self._settings.names
        again = [message.key for message in messages if message.deliveries > 1]
        if again:  # they may have left errors behind
            connection.post(("HDEL", self._settings.failures, *again), then=self._note)
        keys = [message.key for message in messages]
        return connection.post(("XACK", stream, group, *keys), then=partial(self._acknowledged, messages))

    def flush(self, *, wait: bool = True) -> None:
        """Settle all that has ended, now. Where Redis does not take it, the next time says it again.

        If another thread is about it: after that, or without `wait` not at all.
        """
        if not self._flushing.acquire(blocking=wait):
            return
        try:
            if reply := self.post(self._connection):
                self._connection.get(reply)
            while self.failures:
                failure = self.failures.pop(0)
                try:
                    self._failed(*failure)
                except RedisError:
                    self.failures.append(failure)
                    raise
        finally:
            self._error = None  # it has been raised here
            self._flushing.release()

    def unconfirmed(self) -> list[bytes]:
        """Return entry IDs of messages that have ended and, for all that is known, are still pending."""
        ended = [*self.done, *(message for message, _ in self.failures)]
        return [message.key for messages in (ended, *self._posted.copy()) for message in messages]

    def retries(self) -> dict[bytes, float]:
        """Return when (monotonic) each message that waits for a retry is due. What is due is then forgotten."""
        retries, now = self._retry_at.copy(), time.monotonic()
        for key, due in retries.items():
            if due <= now:
                self._retry_at.pop(key, None)
        return retries

    def within_limit(self, messages: Sequence[Message]) -> list[Message]:
        """Dead-letter those that were delivered too often (their workers died before they could); return the others."""
        most = self._settings.max_deliveries
        for message in messages:
            self._retry_at.pop(message.key, None)
            if message.deliveries > most:
                self._dead_letter(message, "deliveries", None)
        return [message for message in messages if message.deliveries <= most]

    def _acknowledged(self, messages: list[Message], value: Any) -> None:
        self._posted.remove(messages)
        if isinstance(value, Exception):
            self.done += messages
            self._note(value)
        else:
            self._settings.tell("acked", messages)

    def _note(self, value: Any) -> None:
        if isinstance(value, ResponseError):  # a lost connection shows at the next command, too
            self._error = value

    def _failed(self, message: Message, error: Exception) -> None:
        """Settle a message whose handler raised: dead letter or retry."""
        self._settings.tell("failed", (message,), f"{type(error).__name__}: {error}"[:500])
        if isinstance(error, PermanentError):
            self._dead_letter(message, "permanent", error)
        elif message.deliveries >= self._settings.max_deliveries:
            self._dead_letter(message, "deliveries", error)
        else:
            self._retry(message, error)

    def _retry(self, message: Message, error: Exception) -> None:
        """Leave a failed message pending, to be claimed by anybody after a delay.

        Redis has no delayed delivery. But what counts for claiming is the idle time, and XCLAIM can set it: an entry
        that is made to look `claim_after - delay` old becomes claimable after `delay`. It cannot be made younger than
        now, which is why `claim_after` is the longest delay.
        """
        settings = self._settings
        delay = min(settings.retry_delay * 2 ** (message.deliveries - 1), settings.claim_after)
        idle = max(0, int((settings.claim_after - delay) * 1000))
        stream, group, consumer = settings.names
        arguments = (group, consumer, message.key, idle, self._failure(message, error), _REMEMBER)
        status = self._connection.call("EVAL", scripts.RETRY, 2, stream, settings.failures, *arguments)
        if status == scripts.OURS:
            self._retry_at[message.key] = time.monotonic() + delay
            settings.tell("retry", (message,), f"{delay:g} s")
        else:
            self._not_ours(message, status, error)

    def _dead_letter(self, message: Message, reason: str, error: Exception | None) -> None:
        """Move a message to the dead letters and acknowledge it in one step, if it still is ours."""
        settings = self._settings
        stream, group, consumer = settings.names
        before = self._connection.call("HGET", settings.failures, message.key) if message.deliveries > 1 else None
        failure = self._failure(message, error) if error is not None else None
        head: dict[str, Part] = {
            "id": message.key,  # first: the script compares it
            "failures": b"\n".join(filter(None, (before, failure))),
            "reason": reason,
            "error": _text(error),
            "deliveries": message.deliveries,
            "consumer": consumer,
            "buried_at": f"{time.time():.3f}",
        }
        letter = ("XADD", settings.dead, "*", *(part for pair in head.items() for part in pair), *message.raw)
        keys = (stream, settings.dead, settings.failures)
        try:
            _, status = self._connection.transaction(
                letter, ("EVAL", scripts.BURY, len(keys), *keys, group, consumer, message.key)
            )
        except ResponseError as refusal:
            if is_final(refusal) or is_elsewhere(refusal) or is_group_gone(refusal):
                raise
            log.error("cannot dead-letter message %s (%s): it stays pending", message.id, refusal)
            return
        if status == scripts.OURS:
            settings.tell("dead", (message,), reason)
        else:
            self._not_ours(message, status, error)

    def _not_ours(self, message: Message, status: int, error: Exception | None) -> None:
        """Say what becomes of a message that is no longer this consumer's."""
        self._settings.tell("disowned", (message,))
        if status == scripts.ANOTHERS:
            return  # claimed meanwhile: the other one settles it
        what = "is no longer pending (XACK, XGROUP DELCONSUMER or a new group)"
        if status == scripts.DELETED:
            what = "was deleted from the stream (XDEL, XTRIM)"
        text = "message %s of stream %r failed (%s), and meanwhile it %s: this worker does not try it again"
        log.error(text, message.id, self._settings.stream, _text(error) or "delivered too often", what)

    def _failure(self, message: Message, error: Exception) -> bytes:
        at, consumer = round(time.time(), 3), self._settings.consumer
        record = {"delivery": message.deliveries, "consumer": consumer, "at": at, "error": _text(error)}
        return json.dumps(record).encode()


def _text(error: Exception | None) -> str:
    """Return an error in one line of bounded length: a message may choose what its error says."""
    if error is None:
        return ""
    line = " ".join(str(error).split())
    return f"{type(error).__name__}: {line}"[:500].encode("utf-8", "backslashreplace").decode()
