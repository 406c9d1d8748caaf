"""Trimming that cannot lose a message: only what every group has finished with may go."""

from __future__ import annotations

from streamlab.queue.link import Link

# KEYS[1] stream. ARGV[1] entries to keep at least. The bound is the oldest entry that some group still needs: its
# oldest pending one, else the one after its last delivered. Returns how many entries were removed.
# Without a group nobody has finished with anything.
_TRIM = """
local function parts(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return ms, seq
end
local function padded(digits) return string.rep('0', 20 - #digits) .. digits end
local function before(a, b)
  local ams, aseq = parts(a)
  local bms, bseq = parts(b)
  if ams ~= bms then return padded(ams) < padded(bms) end
  return padded(aseq) < padded(bseq)
end

local extra = redis.call('XLEN', KEYS[1]) - tonumber(ARGV[1])
if extra <= 0 then return 0 end
local groups = redis.call('XINFO', 'GROUPS', KEYS[1])
if #groups == 0 then return 0 end
local bound = nil
for _, row in ipairs(groups) do
  local it = {}
  for i = 1, #row, 2 do it[row[i]] = row[i + 1] end
  local needed = it['last-delivered-id']
  if it.pending > 0 then needed = redis.call('XPENDING', KEYS[1], it.name)[2] end
  if bound == nil or before(needed, bound) then bound = needed end
end
if bound == '0-0' then return 0 end -- some group has not read anything
local finished = redis.call('XRANGE', KEYS[1], '-', '(' .. bound, 'COUNT', math.min(extra + 1, 1001))
if #finished == 0 then return 0 end
return redis.call('XTRIM', KEYS[1], 'MINID', '=', finished[#finished][1])
"""


def trim_finished(link: Link, stream: str, keep: int) -> int:
    """Remove the oldest entries that no group needs any more, down to `keep` entries; how many were removed.

    A plain MAXLEN removes by number alone, also what was never read and what is pending. Here an entry that a group has
    not read, or has read and not acknowledged, stays. At most 1,000 entries go at a time, so that Redis is never
    held up; it works from Redis 6.2 on.
    """
    return int(link.call("EVAL", _TRIM, 1, stream, keep))
