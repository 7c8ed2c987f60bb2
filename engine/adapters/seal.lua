-- Takes a shard out of service, or puts it back: commits and deliveries are refused while its layout is another one.
--
-- KEYS[1]  the shard's head hash
-- ARGV     1 layout to set; 'seal': 2 'seal', 3 offset expected (-1 none), 4 lineage expected; 'open': 2 'open', 3 layout
--          of a sealed one
-- Returns  1 done, 0 the head is not at that offset and lineage, or not sealed: nothing has changed
local head = KEYS[1]
local stored = redis.call('HMGET', head, 'offset', 'lineage', 'writing', 'layout')
if ARGV[2] == 'seal' then
  if (stored[1] or '-1') ~= ARGV[3] or (stored[2] or '') ~= ARGV[4] or (stored[3] or '-1') ~= ARGV[3] then return 0 end
elseif stored[4] ~= ARGV[3] then
  return 0
end
redis.call('HSET', head, 'layout', ARGV[1])
return 1
