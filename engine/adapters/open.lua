-- What an owner needs of a shard before its first batch, read as of one moment.
--
-- KEYS[1]  the shard's head hash
-- Returns  {layout, offset, outbox_next, writing, outbox entries, {name, value, …}, touches_next, touch entries,
--          lineage}; the first four, touches_next and lineage nil where absent
local head = KEYS[1]
local base = string.sub(head, 1, -2)
local stored = redis.call('HMGET', head, 'layout', 'offset', 'outbox_next', 'writing', 'touches_next', 'lineage')
local state = {}
for _, name in ipairs(redis.call('SMEMBERS', base .. 'I')) do
  local value = redis.call('GET', base .. name)
  if value then
    state[#state + 1] = name
    state[#state + 1] = value
  end
end
local outbox, touches = redis.call('LRANGE', base .. 'O', 0, -1), redis.call('LRANGE', base .. 'T', 0, -1)
return {stored[1], stored[2], stored[3], stored[4], outbox, state, stored[5], touches, stored[6]}
