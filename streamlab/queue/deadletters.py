"""The dead letters of a group: read, sent back to work, or thrown away."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from redis import Redis

from streamlab.queue.keys import dead_stream
from streamlab.queue.link import Link
from streamlab.queue.message import Message
from streamlab.queue.outcome import HEAD

# KEYS[1] dead letters, KEYS[2] stream. ARGV[1] the dead letter's ID, ARGV[2] how many items its head has.
# Returns the new entry's ID, or false if the letter is no longer there.
_REDRIVE = """
local letter = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not letter then return false end
local body = {'XADD', KEYS[2], '*'}
for i = tonumber(ARGV[2]) + 1, #letter[2] do body[#body + 1] = letter[2][i] end
local id = redis.call(unpack(body))
redis.call('XDEL', KEYS[1], ARGV[1])
return id
"""


@dataclass(frozen=True)
class DeadLetter:
    """A message that was given up.

    Attributes:
        id: ID of the dead letter in the dead-letter stream.
        message: the message as it was; `message.id` is its ID in the stream that it came from.
        reason: why it was given up: "permanent" (the handler said so) or "deliveries" (the limit was reached).
        error: the last error, "Type: text"; empty if its worker died instead.
        consumer: who buried it.
        buried_at: when, in seconds since 1970.
        failures: one record an attempt that raised: delivery, consumer, at (seconds since 1970), error. A delivery
            that is missing here killed its worker, or lost it.
    """

    id: str
    message: Message
    reason: str
    error: str
    consumer: str
    buried_at: float
    failures: tuple[dict[str, Any], ...]


class DeadLetters:
    """The dead letters of a group.

    >>> letters = DeadLetters(client, "images", "resizers")                       # doctest: +SKIP
    >>> for letter in letters.read():                                             # doctest: +SKIP
    ...     print(letter.message.fields, letter.error)
    >>> letters.redrive("1795482250248-0")                                        # doctest: +SKIP
    """

    def __init__(self, client: Redis, stream: str, group: str) -> None:
        self.key = dead_stream(stream, group)
        self._stream = stream
        self._link = Link(client)

    def __len__(self) -> int:
        return int(self._link.call("XLEN", self.key))

    def read(self, *, after: str = "0-0", count: int = 100) -> list[DeadLetter]:
        """The next `count` letters after the letter with ID `after`, oldest first."""
        rows = self._link.call("XRANGE", self.key, f"({after}", "+", "COUNT", count)
        return [_letter(row) for row in rows]

    def redrive(self, *ids: str) -> list[str]:
        """Send letters back to their stream as new messages; their new entry IDs (a letter that is gone has none).

        Every group of the stream gets them, not only this one. Their deliveries are counted anew.
        """
        head = 2 * len(HEAD)
        new = [self._link.call("EVAL", _REDRIVE, 2, self.key, self._stream, entry, head) for entry in ids]
        return [entry.decode() for entry in new if entry]

    def discard(self, *ids: str) -> int:
        """Throw letters away; how many there were."""
        return int(self._link.call("XDEL", self.key, *ids)) if ids else 0

    def close(self) -> None:
        """Drop the connection."""
        self._link.close()


def _letter(row: list[Any]) -> DeadLetter:
    entry_id, items = row
    size = 2 * len(HEAD)
    head = Message(b"", items[:size]).fields
    return DeadLetter(
        id=entry_id.decode(),
        message=Message(head["id"].encode(), items[size:], int(head["deliveries"])),
        reason=head["reason"],
        error=head["error"],
        consumer=head["consumer"],
        buried_at=float(head["buried_at"]),
        failures=tuple(json.loads(line) for line in head["failures"].splitlines()),
    )
