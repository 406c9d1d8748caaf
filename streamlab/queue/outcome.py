"""What happens to a message after its handler: acknowledged, handed back for another attempt, or buried.

Handing back and burying are scripts, because both begin with a question (is this message still mine?) whose answer must
hold until they are done. Acknowledging asks nothing: the effect exists, whoever holds the message by now.
"""

from __future__ import annotations

import copy
import json
import logging
import time
from collections.abc import Sequence

from redis.exceptions import RedisError, ResponseError

from streamlab.queue.errors import PermanentError
from streamlab.queue.keys import dead_stream, failures_hash
from streamlab.queue.link import Link, Value
from streamlab.queue.message import Message, Observer

log = logging.getLogger(__name__)

_REMEMBER = 7 * 24 * 3600  # seconds that the failures of a message are kept if nobody ever comes back to it

# KEYS[1] stream, KEYS[2] failures. ARGV[1] group, ARGV[2] consumer, ARGV[3] entry ID, ARGV[4] idle milliseconds to
# set, ARGV[5] what went wrong (JSON), ARGV[6] seconds to remember it. Returns 1, or 0 if another consumer has it.
_HAND_BACK = """
if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1, ARGV[2]) == 0 then return 0 end
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'IDLE', ARGV[4], 'JUSTID')
local before = redis.call('HGET', KEYS[2], ARGV[3])
redis.call('HSET', KEYS[2], ARGV[3], (before and before .. '\\n' or '') .. ARGV[5])
redis.call('EXPIRE', KEYS[2], ARGV[6])
return 1
"""

# KEYS[1] stream, KEYS[2] dead letters, KEYS[3] failures. ARGV[1] group, ARGV[2] consumer, ARGV[3] entry ID, ARGV[4]
# what went wrong (JSON, may be empty), ARGV[5..] names and values of the dead letter's head. The head comes first, then
# the message's own fields as they were, so that no field of a message can pass for one of the head's.
# Returns the dead letter's ID; false if another consumer has the message or the entry was deleted.
_BURY = """
if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1, ARGV[2]) == 0 then return false end
local entry = redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3])[1]
local letter = false
if entry then
  local failures = redis.call('HGET', KEYS[3], ARGV[3]) or ''
  if ARGV[4] ~= '' then failures = failures .. (failures ~= '' and '\\n' or '') .. ARGV[4] end
  local body = {'XADD', KEYS[2], '*', 'failures', failures}
  for i = 5, #ARGV do body[#body + 1] = ARGV[i] end
  for _, item in ipairs(entry[2]) do body[#body + 1] = item end
  letter = redis.call(unpack(body))
end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
redis.call('HDEL', KEYS[3], ARGV[3])
return letter
"""

# The names at the head of a dead letter, in order; `failures` is the first and written by the script.
HEAD = ("failures", "id", "reason", "error", "deliveries", "consumer", "buried_at")


class Outcome:
    """Decides what becomes of one consumer's messages, and writes it to Redis.

    Args:
        link: connection to Redis; used by one thread at a time.
        stream: key of the stream.
        group: the consumer group.
        consumer: the consumer's name.
        claim_after: seconds after which an idle message may be claimed.
        max_deliveries: after so many deliveries without success a message is buried.
        retry_delay: seconds before the second delivery; doubled at each.
        observe: told what was decided.
    """

    def __init__(
        self,
        link: Link,
        stream: str,
        group: str,
        consumer: str,
        *,
        claim_after: float,
        max_deliveries: int,
        retry_delay: float,
        observe: Observer | None,
    ) -> None:
        self._link = link
        self._stream = stream
        self._group = group
        self._consumer = consumer
        self._claim_after = claim_after
        self._max_deliveries = max_deliveries
        self._retry_delay = retry_delay
        self._observe = observe
        self._dead = dead_stream(stream, group)
        self._failures = failures_hash(stream, group)
        self._retrying: dict[str, float] = {}  # handed back, and until when (monotonic) to leave it alone

    def on(self, link: Link) -> Outcome:
        """The same, for another thread with a connection of its own."""
        twin = copy.copy(self)
        twin._link = link
        return twin

    def failed(self, message: Message, error: Exception) -> None:
        """The handler raised: bury the message, or hand it back for another attempt."""
        self._tell("failed", message, f"{type(error).__name__}: {error}"[:500])
        if isinstance(error, PermanentError):
            self._give_up(message, "permanent", error)
        elif message.deliveries >= self._max_deliveries:
            self._give_up(message, "deliveries", error)
        else:
            delay = min(self._retry_delay * 2 ** (message.deliveries - 1), self._claim_after)
            self._retrying[message.id] = time.monotonic() + self._claim_after
            mine = self._hand_back(message, error, delay)
            self._tell("retry" if mine else "disowned", message, f"{delay:g} s" if mine else "")

    def within_limit(self, messages: Sequence[Message]) -> list[Message]:
        """Bury those that were delivered too often (whoever had them did not live to say why); the others."""
        for message in messages:
            self._retrying.pop(message.id, None)
            if message.deliveries > self._max_deliveries:
                self._give_up(message, "deliveries", None)
        return [message for message in messages if message.deliveries <= self._max_deliveries]

    def waiting(self) -> set[str]:
        """Entry IDs of messages that were handed back and are not due again yet, though still pending for us."""
        now = time.monotonic()
        for entry in [entry for entry, until in list(self._retrying.items()) if until <= now]:
            self._retrying.pop(entry, None)
        return set(self._retrying)

    def ack_commands(self, messages: Sequence[Message]) -> list[tuple[Value, ...]]:
        """The commands that acknowledge these messages, to be sent together with others."""
        if not messages:
            return []
        commands: list[tuple[Value, ...]] = [("XACK", self._stream, self._group, *[m.key for m in messages])]
        again = [m.key for m in messages if m.deliveries > 1]
        if again:  # they may have left failures behind
            commands.append(("HDEL", self._failures, *again))
        return commands

    def ack(self, messages: Sequence[Message]) -> None:
        """Acknowledge in one round trip. Raises what the link raises; doing it again is harmless."""
        commands = self.ack_commands(messages)
        if commands:
            self._link.send(*commands)
            for reply in [self._link.receive() for _ in commands]:
                if isinstance(reply, RedisError):
                    raise reply

    def _hand_back(self, message: Message, error: BaseException, delay: float) -> bool:
        """Leave a failed message pending, to be claimed by anybody after `delay` seconds; False if it is not ours.

        Redis has no delayed delivery. But what counts for claiming is the idle time, and XCLAIM can set it: an entry
        that is made to look `claim_after - delay` old becomes claimable after `delay`. It cannot be made younger than
        now, which is why `claim_after` is the longest delay.
        """
        idle = max(0, int((self._claim_after - delay) * 1000))
        failure = self._failure(message, error)
        command = (self._stream, self._failures, self._group, self._consumer, message.id, idle, failure, _REMEMBER)
        return bool(self._link.call("EVAL", _HAND_BACK, 2, *command))

    def _bury(self, message: Message, reason: str, error: BaseException | None) -> bool:
        """Move a message to the dead letters and acknowledge it, in one step; False if it is no longer ours to move."""
        head = {
            "id": message.id,
            "reason": reason,
            "error": _text(error),
            "deliveries": str(message.deliveries),
            "consumer": self._consumer,
            "buried_at": f"{time.time():.3f}",
        }
        failure = self._failure(message, error) if error is not None else ""
        keys = (self._stream, self._dead, self._failures)
        pairs = [part for name, value in head.items() for part in (name, value)]
        command = (self._group, self._consumer, message.id, failure, *pairs)
        return self._link.call("EVAL", _BURY, 3, *keys, *command) is not None

    def _give_up(self, message: Message, reason: str, error: Exception | None) -> None:
        try:
            mine = self._bury(message, reason, error)
        except ResponseError as refusal:  # out of memory, or more fields than a script can pass on
            log.error("message %s cannot be buried (%s): it stays pending", message.id, refusal)
            return
        self._tell("dead" if mine else "disowned", message, reason)

    def _tell(self, kind: str, message: Message, note: str) -> None:
        if self._observe is not None:
            self._observe(kind, (message,), note)

    def _failure(self, message: Message, error: BaseException | None) -> str:
        return json.dumps(
            {
                "delivery": message.deliveries,
                "consumer": self._consumer,
                "at": round(time.time(), 3),
                "error": _text(error),
            }
        )


def _text(error: BaseException | None) -> str:
    """An error in one line of bounded length: a message may choose what its error says."""
    if error is None:
        return ""
    line = " ".join(str(error).split())
    return f"{type(error).__name__}: {line}"[:500].encode("utf-8", "backslashreplace").decode()
