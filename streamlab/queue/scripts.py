"""The Lua: what must be one step, because it begins with a question whose answer must hold until it is done.

Each script begins with its name and the commands that it calls, which an error about permissions quotes.
"""

# KEYS: stream. ARGV: group, consumer, ID after which to look ("-" at first), how many to take, then the IDs to leave
# alone: those in flight, and those that wait for a retry.
# Delivers the consumer's own pending entries again. Returns {ID to go on from, or false at the end; {ID, fields,
# deliveries} of each; IDs that were deleted from the stream, which no longer are pending now}.
TAKE_OWN = """-- take own (XPENDING, XCLAIM, XACK)
local skip, rows, deleted = {}, {}, {}
for i = 5, #ARGV do skip[ARGV[i]] = true end
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], '+', ARGV[4], ARGV[2])
for _, row in ipairs(pending) do
  if not skip[row[1]] then
    local claimed = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, row[1])[1]
    if claimed then
      rows[#rows + 1] = {row[1], claimed[2], row[4] + 1}
    else
      redis.call('XACK', KEYS[1], ARGV[1], row[1])
      deleted[#deleted + 1] = row[1]
    end
  end
end
return {#pending > 0 and pending[#pending][1], rows, deleted}
"""

# KEYS: stream. ARGV: group, consumer, then entry IDs. XAUTOCLAIM does not tell how often an entry was delivered.
# Returns that for each, or false if it is not pending for the consumer (any more).
COUNT = """-- count deliveries (XPENDING)
local counts = {}
for i = 3, #ARGV do
  local row = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])[1]
  counts[i - 2] = row and row[4] or false
end
return counts
"""

# KEYS: stream. ARGV: group, consumer, then entry IDs. A plain XCLAIM would take back what another consumer has claimed
# meanwhile; this one resets the idle time only of what still is the consumer's own, and returns the other IDs.
RENEW = """-- renew (XPENDING, XCLAIM)
local lost = {}
for i = 3, #ARGV do
  local id = ARGV[i]
  if #redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1, ARGV[2]) == 1 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id, 'JUSTID')
  else
    lost[#lost + 1] = id
  end
end
return lost
"""

# What a settlement finds when it asks whose a message is.
OURS, ANOTHERS, NOT_PENDING, DELETED = 1, 0, -1, -2

# KEYS: stream, failures. ARGV: group, consumer, entry ID, idle milliseconds to set, what went wrong (JSON), seconds to
# remember that. Leaves a failed message pending for a retry. Returns one of the four above.
RETRY = """-- retry (XPENDING, XCLAIM, HGET, HSET, HDEL, EXPIRE)
local row = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)[1]
if not row then redis.call('HDEL', KEYS[2], ARGV[3]) return -1 end
if row[2] ~= ARGV[2] then return 0 end
if #redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'IDLE', ARGV[4], 'JUSTID') == 0 then
  redis.call('HDEL', KEYS[2], ARGV[3])
  return -2
end
local before = redis.call('HGET', KEYS[2], ARGV[3])
redis.call('HSET', KEYS[2], ARGV[3], (before and before .. '\\n' or '') .. ARGV[5])
redis.call('EXPIRE', KEYS[2], ARGV[6])
return 1
"""

# KEYS: stream, dead letters, failures. ARGV: group, consumer, entry ID.
# Runs in one transaction behind the XADD of a dead letter (a script cannot add one itself: Lua passes on some 8,000
# values, Redis holds a message of a million). If the message is ours, the letter takes its place; else the letter goes.
# An XADD that failed leaves another last letter: the script fails, too, before it removes anything.
BURY = """-- dead-letter (XREVRANGE, XPENDING, XACK, HDEL, XDEL)
local letter = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
if not letter or letter[2][2] ~= ARGV[3] then return {err = 'ERR the dead letter was not added'} end
local row = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)[1]
if row and row[2] == ARGV[2] then
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
  redis.call('HDEL', KEYS[3], ARGV[3])
  return 1
end
redis.call('XDEL', KEYS[2], letter[1])
return row and 0 or -1
"""

# KEYS: dead letters, stream. ARGV: the letter's ID, the number of items of its head, and of the message behind it.
# Runs in one transaction behind the XADD of the message, for the same reason, and checks the same way what was added.
# Returns 1, or 0 if somebody has redriven or discarded the letter before; then the copy goes.
REDRIVE = """-- redrive (XREVRANGE, XRANGE, XDEL)
local added = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
local letter = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
local head = tonumber(ARGV[2])
if not added or #added[2] ~= tonumber(ARGV[3]) then return {err = 'ERR the message was not added'} end
if not letter then
  redis.call('XDEL', KEYS[2], added[1])
  return 0
end
for i, item in ipairs(added[2]) do
  if item ~= letter[2][head + i] then return {err = 'ERR the message was not added'} end
end
redis.call('XDEL', KEYS[1], ARGV[1])
return 1
"""

# KEYS: stream. ARGV: group, consumer, idle milliseconds. XGROUP DELCONSUMER discards a consumer's pending entries:
# this deletes the consumer, and those that were idle for so long, only if nothing is pending for them.
FORGET = """-- forget consumers (XINFO CONSUMERS, XGROUP DELCONSUMER)
for _, row in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local it = {}
  for i = 1, #row, 2 do it[row[i]] = row[i + 1] end
  if it.pending == 0 and (it.name == ARGV[2] or it.idle >= tonumber(ARGV[3])) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], it.name)
  end
end
"""

# KEYS: stream. ARGV: entries to keep at least. A plain MAXLEN removes by number alone, also what was never read and
# what is pending. This one stops before the first entry that some group still needs: its oldest pending one, else its
# last delivered. At most 1,000 go at a time, so that Redis is not held up; without a group, none.
TRIM = """-- trim (XLEN, XINFO GROUPS, XPENDING, XRANGE, XTRIM)
local most = math.min(redis.call('XLEN', KEYS[1]) - tonumber(ARGV[1]), 1000)
local finished = {}
for n, row in ipairs(most > 0 and redis.call('XINFO', 'GROUPS', KEYS[1]) or {}) do
  local it = {}
  for i = 1, #row, 2 do it[row[i]] = row[i + 1] end
  local needed = it.pending > 0 and redis.call('XPENDING', KEYS[1], it.name)[2] or it['last-delivered-id']
  local upto = redis.call('XRANGE', KEYS[1], '-', needed, 'COUNT', most + 1)
  if n == 1 or #upto < #finished then finished = upto end
end
return #finished > 1 and redis.call('XTRIM', KEYS[1], 'MINID', '=', finished[#finished][1])
"""
