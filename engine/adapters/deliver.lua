-- Touches that one shard's commit made to entities at home in another, applied there once. docs/state.md describes it.
-- ops.lua stands before this text.
--
-- KEYS[1]  the home's head hash; every other key of the home shares its prefix and so its cluster slot
-- ARGV     1 layout version, 2 source shard, 3 the source's offset after its delivery before this one (-1 none),
--          4 offset of the batch's first record, 5 the source's offset after the batch,
--          6 offset of the record of each operation, less the first, 7 packed operations
-- Returns  {'O', offset} the home has the source's touches up to there · {'G', offset} only up to there: an earlier
--          delivery is missing · {'V', layout} another layout · {'T', offset, writing} torn by an earlier fault
--          {'I', why} invalid; in all but the first nothing changed
local head = KEYS[1]
local base = sub(head, 1, -2)
local marks, source, writing = base .. 'D', ARGV[2], ARGV[2] .. 'w'

-- 1. The layout, and that no earlier delivery of this source stopped half way.
local known = call('HMGET', head, 'layout', 'copying')
local layout = known[1]
if layout and layout ~= ARGV[1] then return {'V', layout} end
local stored = call('HMGET', marks, source, writing)
local applied = stored[1] or '-1'
if stored[2] and stored[2] ~= applied then return {'T', applied, stored[2]} end

-- 2. What is here of the source: all of this, or not even what came before.
if tonumber(applied) >= tonumber(ARGV[5]) then return {'O', applied} end
if tonumber(applied) < tonumber(ARGV[3]) then return {'G', applied} end

-- 3. Everything else that could be wrong, before the first write.
local count, fault = count_ops(ARGV[7], {[102] = true, [105] = true}) -- logs of entities and claims
if not count then return {'I', fault} end
if #ARGV[6] ~= 4 * count then return {'I', #ARGV[6] .. ' bytes of offsets for ' .. count .. ' operations'} end

-- 4. The first write, which the server refuses if it must refuse any.
call('HSET', marks, writing, ARGV[5])

-- 5. Those touches that are not here yet.
apply_ops(ARGV[7], base, changed_set(head, base, known[2]), ARGV[6], tonumber(applied) - tonumber(ARGV[4]))

-- 6. From here on they are here.
call('HSET', marks, source, ARGV[5])
return {'O', ARGV[5]}
