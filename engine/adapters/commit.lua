-- One micro-batch of one shard, stored in one atomic call or not at all. docs/state.md describes keys and layout.
-- ops.lua stands before this text.
--
-- KEYS[1]  the shard's head hash; every other key of the shard shares its prefix and so its cluster slot
-- ARGV     1 layout version, 2 expected offset, 3 next offset, 4 outbox entries relayed (all below this sequence),
--          5 packed operations, 6 outbox entry or '', 7 journal entry or '', 8 journal length kept,
--          9 touch entries delivered (all below this sequence), 10 touch entry or '',
--          11 expected lineage, 12 next lineage,
--          13 number of answers, then key, value, ttl seconds of each; then channel, payload of each reply
-- Returns  {'O', next outbox sequence} stored · {'F', stored offset} fenced · {'V', layout} another layout
--          {'T', offset, writing} torn by an earlier fault · {'I', why} invalid; in all but the first nothing changed
--
-- No shebang line: Redis 6.2 does not know it, and without one every version refuses the first write when memory is
-- full (OOM), the disk is (MISCONF), replicas are missing or the node is a replica, and never a later one. So a
-- refusal comes before anything has changed. Lua does not roll back: all that could fail is checked before that write.
local head = KEYS[1]
local base = sub(head, 1, -2)
local expected, next_offset, relayed, ops, delivered = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[9])

-- 1. The layout, and that no earlier commit stopped half way.
local stored = call('HMGET', head, 'layout', 'offset', 'outbox_next', 'writing', 'touches_next', 'copying', 'lineage')
local offset = stored[2] or '-1'
if stored[1] and stored[1] ~= ARGV[1] then return {'V', stored[1]} end
if stored[4] and stored[4] ~= offset then return {'T', offset, stored[4]} end

-- 2. The fence.
if offset ~= expected or (stored[7] or '') ~= ARGV[11] then return {'F', offset} end

-- 3. Everything else that could be wrong, before the first write.
local count, fault = count_ops(ops)
if not count then return {'I', fault} end
local outbox, outbox_next = base .. 'O', tonumber(stored[3] or '0')
local held = call('LLEN', outbox)
if relayed > outbox_next then return {'I', 'relayed ' .. ARGV[4] .. ' entries of ' .. outbox_next} end
local touches, touches_next = base .. 'T', tonumber(stored[5] or '0')
local touches_held = call('LLEN', touches)
if delivered > touches_next then return {'I', 'delivered ' .. ARGV[9] .. ' touch entries of ' .. touches_next} end
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
local changed = changed_set(head, base, stored[6])
apply_ops(ops, base, changed)

-- 6. The outbox: drop what has reached its sink, append what this batch sends.
local drop = relayed - (outbox_next - held)
if drop > 0 then call('LTRIM', outbox, drop, -1) end
if ARGV[6] ~= '' then
  call('RPUSH', outbox, ARGV[6])
  outbox_next = outbox_next + 1
end

-- 7. The touches of entities at home in other shards: drop what is delivered for long (not while the shard is copied:
-- a home that was copied earlier may lack them), append this batch's.
local drop_touches = delivered - (touches_next - touches_held)
if drop_touches > 0 and not changed then call('LTRIM', touches, drop_touches, -1) end
if ARGV[10] ~= '' then
  call('RPUSH', touches, ARGV[10])
  call('HSET', head, 'touches_next', string.format('%.0f', touches_next + 1))
end

-- 8. The journal: the raw input, where no log holds it.
if ARGV[7] ~= '' then call('XADD', journal, 'MAXLEN', '~', ARGV[8], next_offset .. '-0', 'r', ARGV[7]) end

-- 9. Answers for repeats of a synchronous call.
local argument = 14
for _ = 1, tonumber(ARGV[13]) do
  call('SET', base .. 'A' .. ARGV[argument], ARGV[argument + 1], 'EX', ARGV[argument + 2])
  if changed then call('SADD', changed, 'A' .. ARGV[argument]) end
  argument = argument + 3
end

-- 10. The head: from here on the batch is stored.
local next_text = string.format('%.0f', outbox_next)
call('HSET', head, 'layout', ARGV[1], 'offset', next_offset, 'outbox_next', next_text, 'lineage', ARGV[12])

-- 11. Tell who waits. A reply that cannot be sent is found again among the answers.
while argument < #ARGV do
  redis.pcall('PUBLISH', ARGV[argument], ARGV[argument + 1])
  argument = argument + 2
end
return {'O', next_text}
