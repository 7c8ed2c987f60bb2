-- Keeps the answer that a gateway was given without the state, for repeats of its call.
--
-- KEYS[1]  the kept answer of the shard's owner
-- ARGV     1 key of the given answer, in the same slot, 2 that answer, 3 milliseconds answers are kept, 4 milliseconds
--          since the call began
-- Returns  {1, owner's answer or false} kept · {0, owner's answer} the owner's is older than the call and stands: the
--          event had been decided before, and its first answer is that one
local left = redis.call('PTTL', KEYS[1])
local owners = redis.call('GET', KEYS[1])
if left >= 0 and tonumber(ARGV[3]) - left > tonumber(ARGV[4]) then return {0, owners} end
redis.call('SET', ARGV[1], ARGV[2], 'PX', ARGV[3])
return {1, owners}
