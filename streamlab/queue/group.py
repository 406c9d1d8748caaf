"""A consumer group's beginning and a consumer's end."""

from __future__ import annotations

from redis.exceptions import ResponseError

from streamlab.queue.link import Link


def create_group(link: Link, stream: str, group: str, *, start: str = "0") -> bool:
    """Make the group, and the stream if it does not exist; whether it was made now.

    Args:
        link: connection to Redis.
        stream: key of the stream.
        group: name of the group.
        start: "0" delivers what the stream already holds, "$" only what comes after.

    It is also the cure after a FLUSHALL, an eviction or XGROUP DESTROY. From "0" it may repeat what was done,
    from anywhere else it may skip what was not.
    """
    try:
        link.call("XGROUP", "CREATE", stream, group, start, "MKSTREAM")
    except ResponseError as error:
        if str(error).startswith("BUSYGROUP"):
            return False
        raise
    return True


# KEYS[1] stream. ARGV[1] group, ARGV[2] consumer. XGROUP DELCONSUMER throws a consumer's pending entries away, so
# that looking and deleting must be one step. Returns 1 if the consumer is gone, 0 if it still holds something.
_LEAVE = """
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
if #pending > 0 then return 0 end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1
"""


def leave_group(link: Link, stream: str, group: str, consumer: str) -> bool:
    """Delete the consumer, but only if nothing is pending for it; whether it is gone."""
    try:
        return bool(link.call("EVAL", _LEAVE, 1, stream, group, consumer))
    except ResponseError as error:
        if "NOGROUP" in str(error):  # the group went first
            return True
        raise


# KEYS[1] stream. ARGV[1] group, ARGV[2] idle milliseconds. XINFO CONSUMERS answers a flat list of names and values.
_SWEEP_OUT = """
local gone = {}
for _, row in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local it = {}
  for i = 1, #row, 2 do it[row[i]] = row[i + 1] end
  if it.pending == 0 and it.idle >= tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], it.name)
    gone[#gone + 1] = it.name
  end
end
return gone
"""


def forget_idle_consumers(link: Link, stream: str, group: str, idle: float) -> list[str]:
    """Delete the consumers that hold nothing and have not been heard of for `idle` seconds; their names.

    A worker that was killed leaves its consumer behind, and Redis keeps it for ever. One that lives and was merely
    quiet loses nothing: its next read makes it anew.
    """
    names = link.call("EVAL", _SWEEP_OUT, 1, stream, group, int(idle * 1000))
    return [name.decode(errors="replace") for name in names]
