-- One micro-batch of one shard, stored in one atomic call or not at all. docs/state.md describes keys and layout.
--
-- KEYS[1]  the shard's head hash; every other key of the shard shares its prefix and so its cluster slot
-- ARGV     1 layout version, 2 expected offset, 3 next offset, 4 outbox entries relayed (all below this sequence),
--          5 packed operations, 6 outbox entry or '', 7 journal entry or '', 8 journal length kept,
--          9 number of answers, then key, value, ttl seconds of each; then channel, payload of each reply
-- Returns  {'O', next outbox sequence} stored · {'F', stored offset} fenced · {'V', layout} another layout
--          {'T', offset, writing} torn by an earlier fault · {'I', why} invalid; in all but the first nothing changed
--
-- No shebang line: Redis 6.2 does not know it, and without one every version refuses the first write when memory is
-- full (OOM), the disk is (MISCONF), replicas are missing or the node is a replica, and never a later one. So a
-- refusal comes before anything has changed. Lua does not roll back: all that could fail is checked before that write.
local call, sub, byte, unpack = redis.call, string.sub, string.byte, struct.unpack
local head = KEYS[1]
local base = sub(head, 1, -2)
local expected, next_offset, relayed, ops = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]

-- 1. The layout, and that no earlier commit stopped half way.
local stored = call('HMGET', head, 'layout', 'offset', 'outbox_next', 'writing')
local offset = stored[2] or '-1'
if stored[1] and stored[1] ~= ARGV[1] then return {'V', stored[1]} end
if stored[4] and stored[4] ~= offset then return {'T', offset, stored[4]} end

-- 2. The fence.
if offset ~= expected then return {'F', offset} end

-- 3. Everything else that could be wrong, before the first write.
local size, position = #ops, 1
while position <= size do
  if position + 7 > size then return {'I', 'truncated operation header at byte ' .. position - 1} end
  local kind, key_bytes, _, value_bytes, at = unpack('<BBHI4', ops, position)
  if kind < 1 or kind > 3 then return {'I', 'operation of unknown kind ' .. kind .. ' at byte ' .. position - 1} end
  local room = byte(ops, at)
  if key_bytes == 0 or not room or room < 97 or room > 122 then
    return {'I', 'state key outside the rooms at byte ' .. position - 1}
  end
  position = at + key_bytes + value_bytes
end
if position ~= size + 1 then return {'I', 'truncated operation at the end'} end
local outbox, outbox_next = base .. 'O', tonumber(stored[3] or '0')
local held = call('LLEN', outbox)
if relayed > outbox_next then return {'I', 'relayed ' .. ARGV[4] .. ' entries of ' .. outbox_next} end
local journal = base .. 'J'
if ARGV[7] ~= '' then
  local last = call('XREVRANGE', journal, '+', '-', 'COUNT', '1')[1]
  if last and tonumber(string.match(last[1], '^%d+')) >= tonumber(next_offset) then
    return {'I', 'journal already holds ' .. last[1]}
  end
end

-- 4. The first write, which the server refuses if it must refuse any; it stays behind should a later one fail.
call('HSET', head, 'writing', next_offset)

-- 5. State.
-- An expiry is set for a sixteenth longer than asked and renewed when less than asked is left: to read it is cheap, and
-- to set it with every append would double what goes into the append-only file.
local names, ttl_hours, ttl_seconds, ttl_text = base .. 'I', 0, 0, '0'
position = 1
while position <= size do
  local kind, key_bytes, hours, value_bytes, at = unpack('<BBHI4', ops, position)
  local value_at = at + key_bytes
  position = value_at + value_bytes
  local key = base .. sub(ops, at, value_at - 1)
  if hours ~= ttl_hours then
    ttl_hours, ttl_seconds, ttl_text = hours, hours * 3600, string.format('%d', hours * 3825)
  end
  if kind == 1 then
    local length = call('APPEND', key, sub(ops, value_at, position - 1))
    if hours > 0 and (length == value_bytes or call('TTL', key) < ttl_seconds) then call('EXPIRE', key, ttl_text) end
  elseif kind == 2 then
    if hours > 0 then
      call('SET', key, sub(ops, value_at, position - 1), 'EX', ttl_text)
    else
      call('SET', key, sub(ops, value_at, position - 1), 'KEEPTTL')
    end
  else
    call('DEL', key)
  end
  if byte(ops, at) == 104 then -- 'h': state loaded at assignment is found through an index of its names
    call(kind == 3 and 'SREM' or 'SADD', names, sub(ops, at, value_at - 1))
  end
end

-- 6. The outbox: drop what has reached its sink, append what this batch sends.
local drop = relayed - (outbox_next - held)
if drop > 0 then call('LTRIM', outbox, drop, -1) end
if ARGV[6] ~= '' then
  call('RPUSH', outbox, ARGV[6])
  outbox_next = outbox_next + 1
end

-- 7. The journal: the raw input, where no log holds it.
if ARGV[7] ~= '' then call('XADD', journal, 'MAXLEN', '~', ARGV[8], next_offset .. '-0', 'r', ARGV[7]) end

-- 8. Answers for repeats of a synchronous call.
local argument = 10
for _ = 1, tonumber(ARGV[9]) do
  call('SET', base .. 'A' .. ARGV[argument], ARGV[argument + 1], 'EX', ARGV[argument + 2])
  argument = argument + 3
end

-- 9. The head: from here on the batch is stored.
local next_text = string.format('%.0f', outbox_next)
call('HSET', head, 'layout', ARGV[1], 'offset', next_offset, 'outbox_next', next_text)

-- 10. Tell who waits. A reply that cannot be sent is found again among the answers.
while argument < #ARGV do
  redis.pcall('PUBLISH', ARGV[argument], ARGV[argument + 1])
  argument = argument + 2
end
return {'O', next_text}
