"""What a stream holds that nobody has finished, counted at one moment together with what is done to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from streamlab.faults.base import RunContext

#: Entry IDs that a fault writes down at most; its `hit` has the full number.
LISTED = 1000

# KEYS[1] stream. ARGV[1] group, ARGV[2] where to end ('+', or '(' and an ID), ARGV[3..] a command to be run behind the
# look. A script, so that nothing happens between the two.
_LOOK = """
local key, group, upto = KEYS[1], ARGV[1], ARGV[2]
local length, newest = redis.call('XLEN', key), redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)
local held, unread, seen, from = {}, {}, {}, '-'
for _, row in ipairs(redis.call('EXISTS', key) == 1 and redis.call('XINFO', 'GROUPS', key) or {}) do
  local it = {}
  for i = 1, #row, 2 do it[row[i]] = row[i + 1] end
  if it.name == group then
    from = '(' .. it['last-delivered-id']
    for _, entry in ipairs(redis.call('XPENDING', key, group, '-', upto, math.max(1, it.pending))) do
      local id = entry[1]
      if #redis.call('XRANGE', key, id, id) == 1 then
        held[#held + 1], seen[id] = id, true
      end
    end
  end
end
repeat
  local rows = redis.call('XRANGE', key, from, upto, 'COUNT', 1000)
  for _, row in ipairs(rows) do
    if not seen[row[1]] then unread[#unread + 1] = row[1] end
  end
  if #rows > 0 then from = '(' .. rows[#rows][1] end
until #rows < 1000
if #ARGV > 2 then redis.call(unpack(ARGV, 3)) end
return {length, newest[1] and newest[1][1] or '', held, unread}
"""


@dataclass(frozen=True)
class Look:
    """A stream and a group at one moment.

    Attributes:
        length: entries in the stream.
        newest: ID of the last one; '' for an empty stream.
        held: IDs of pending entries that the stream still holds, the oldest first.
        unread: of entries that the group has not delivered and nobody holds; without a group of all.
    """

    length: int
    newest: str
    held: list[str]
    unread: list[str]

    @property
    def unfinished(self) -> int:
        """How many entries are yet to be acknowledged."""
        return len(self.held) + len(self.unread)

    @property
    def entries(self) -> list[str]:
        """The IDs of the unfinished ones, at most `LISTED`."""
        return [*self.held, *self.unread][:LISTED]


def look(context: RunContext, *command: str, upto: str = "+") -> Look:
    """Look at what is unfinished up to an ID (`(ID` for below it), and run a command in the same moment."""
    reply: Any = context.client.eval(_LOOK, 1, context.stream, context.group, upto, *command)
    return Look(*reply)


def gone(context: RunContext, before: Look) -> tuple[int, list[str]]:
    """How many entries the stream does not hold any more, and which of them were unfinished.

    Only what the look saw can be missed: entries that were added and lost since then are not counted.
    """
    with context.client.pipeline(transaction=True) as ask:
        ask.xlen(context.stream)
        ask.xrange(context.stream, min=f"({before.newest}" if before.newest else "-")
        for entry in before.entries:
            ask.xrange(context.stream, entry, entry)
        length, newer, *found = ask.execute()
    missing = [entry for entry, rows in zip(before.entries, found, strict=True) if not rows]
    return before.length - (length - len(newer)), missing
