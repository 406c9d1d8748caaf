"""What happens to a message after its handler: acknowledged, handed back for another attempt, or buried.

Handing back and burying are scripts, because both begin with a question (is this message still mine?) whose answer must
hold until they are done. Acknowledging asks nothing: the effect exists, whoever holds the message by now.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from redis.exceptions import RedisError

from streamlab.queue.keys import dead_stream, failures_hash
from streamlab.queue.link import Link, Value
from streamlab.queue.message import Message

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
    """Writes the outcomes of one consumer's messages to Redis.

    Args:
        link: connection to Redis; used by one thread at a time.
        stream: key of the stream.
        group: the consumer group.
        consumer: the consumer's name.
        claim_after: seconds after which an idle message may be claimed.
    """

    def __init__(self, link: Link, stream: str, group: str, consumer: str, claim_after: float) -> None:
        self._link = link
        self._stream = stream
        self._group = group
        self._consumer = consumer
        self._claim_after = claim_after
        self._dead = dead_stream(stream, group)
        self._failures = failures_hash(stream, group)

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

    def hand_back(self, message: Message, error: BaseException, delay: float) -> bool:
        """Leave a failed message pending, to be claimed by anybody after `delay` seconds; False if it is not ours.

        Redis has no delayed delivery. But what counts for claiming is the idle time, and XCLAIM can set it: an entry
        that is made to look `claim_after - delay` old becomes claimable after `delay`. It cannot be made younger than
        now, which is why `claim_after` is the longest delay.
        """
        idle = max(0, int((self._claim_after - delay) * 1000))
        failure = self._failure(message, error)
        command = (self._stream, self._failures, self._group, self._consumer, message.id, idle, failure, _REMEMBER)
        return bool(self._link.call("EVAL", _HAND_BACK, 2, *command))

    def bury(self, message: Message, reason: str, error: BaseException | None) -> bool:
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
