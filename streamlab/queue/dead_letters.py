"""The dead letters of a group: read, redriven to the stream, or discarded."""

import json
from dataclasses import dataclass
from typing import Any

from redis import Redis

from streamlab.queue import scripts
from streamlab.queue.connection import Connection, PerProcess, checked_client
from streamlab.queue.keys import checked_name, dead_stream, old_dead_stream, to_bytes
from streamlab.queue.message import Message
from streamlab.queue.settlement import HEAD


@dataclass(frozen=True)
class DeadLetter:
    """A message that was given up.

    Attributes:
        id: ID of the dead letter in the dead-letter stream.
        message: the message as it was; `message.id` is its ID in the stream that it came from.
        reason: why it was given up: "permanent" (the handler said so) or "deliveries" (the limit was reached).
        error: the last error, "Type: text"; empty if its worker died instead.
        consumer: who dead-lettered it.
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
    """The dead letters of a group, also those that version 0.1 left under another key.

    >>> letters = DeadLetters(client, "images", "resizers")                       # doctest: +SKIP
    >>> for letter in letters.read():                                             # doctest: +SKIP
    ...     print(letter.message.fields, letter.error)
    >>> letters.redrive("1795482250248-0")                                        # doctest: +SKIP
    """

    def __init__(self, client: Redis, stream: str, group: str) -> None:
        self.key = dead_stream(checked_name("stream", stream), checked_name("group", group))
        self._keys = [to_bytes(self.key), to_bytes(old_dead_stream(stream, group))]
        self._stream = to_bytes(stream)
        checked_client(client)
        self._connection = PerProcess(lambda: Connection(client))

    def __len__(self) -> int:
        return sum(int(self._connection().call("XLEN", key)) for key in self._keys)

    def read(self, *, after: str = "0-0", count: int = 100) -> list[DeadLetter]:
        """The next `count` letters after the letter with ID `after`, oldest first."""
        connection = self._connection()
        rows = [row for key in self._keys for row in connection.call("XRANGE", key, f"({after}", "+", "COUNT", count)]
        rows.sort(key=lambda row: tuple(map(int, row[0].split(b"-"))))
        return [_letter(row) for row in rows[:count]]

    def redrive(self, *ids: str) -> list[str]:
        """Send letters back to their stream as new messages; their new entry IDs (a letter that is gone has none).

        Every group of the stream gets them, not only this one. Their deliveries are counted anew.
        """
        entries = [self._redrive(key, letter) for letter in ids for key in self._keys]
        return [entry.decode() for entry in entries if entry]

    def discard(self, *ids: str) -> int:
        """Throw letters away; how many there were."""
        return sum(int(self._connection().call("XDEL", key, *ids)) for key in self._keys) if ids else 0

    def close(self) -> None:
        """Drop the connection."""
        self._connection().close()

    def _redrive(self, key: bytes, letter: str) -> bytes | None:
        rows = self._connection().call("XRANGE", key, letter, letter)
        if not rows:
            return None
        message = rows[0][1][HEAD:]
        entry, moved = self._connection().transaction(
            ("XADD", self._stream, "*", *message),
            ("EVAL", scripts.REDRIVE, 2, key, self._stream, letter, HEAD, len(message)),
        )
        return entry if moved else None


def _letter(row: list[Any]) -> DeadLetter:
    letter, items = row
    head = Message(b"", items[:HEAD]).fields
    return DeadLetter(
        id=letter.decode(),
        message=Message(head["id"].encode(), items[HEAD:], int(head["deliveries"])),
        reason=head["reason"],
        error=head["error"],
        consumer=head["consumer"],
        buried_at=float(head["buried_at"]),
        failures=tuple(json.loads(line) for line in head["failures"].splitlines()),
    )
