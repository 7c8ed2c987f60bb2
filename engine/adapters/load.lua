-- Values of a shard's keys as its owner's last commit left them, or word that another commit stands there.
--
-- KEYS[1]  the shard's head hash; every other key of the shard shares its prefix and so its cluster slot
-- ARGV     1 expected offset (-1 none), 2 expected lineage, then names of keys, at most LOAD_KEYS_MAX
-- Returns  {'O', {value or nil, …}} · {'F', stored offset} fenced
local head, keys = KEYS[1], {}
local base = string.sub(head, 1, -2)
local stored = redis.call('HMGET', head, 'offset', 'lineage')
local offset = stored[1] or '-1'
if offset ~= ARGV[1] or (stored[2] or '') ~= ARGV[2] then return {'F', offset} end
if not ARGV[3] then return {'O', {}} end
for at = 3, #ARGV do keys[at - 2] = base .. ARGV[at] end
return {'O', redis.call('MGET', unpack(keys))}
