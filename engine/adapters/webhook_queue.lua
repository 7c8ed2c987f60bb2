-- The queue of one webhook endpoint in one shard, beside the shard's state so that both go back together.
--
-- KEYS[1]  base of the queue's keys: +':n' next ordinal, +':q' sorted set of ids by the time they are due (ms),
--          +':i' hash of items by id; an item is attempts u32, first try at (ms) u64, body
-- ARGV[1]  'put': 2 most items held, 3 ordinal after the last output offered, 4 now (ms),
--          then ordinal, id, body of each output for the endpoint
--          Returns how many of them need nothing more: queued now or before. Fewer than offered: the queue is full,
--          and the ordinal stands at the first that did not fit.
--          'skip': 2 ordinal: what is below it has been told elsewhere. Returns 1.
--          'settle': 2 id, 3 due (ms) or '' to remove it, 4 attempts. Returns 1, or 0 where it is no longer there.
local call = redis.call
local base = KEYS[1]
local next_key, due_key, items_key = base .. ':n', base .. ':q', base .. ':i'

if ARGV[1] == 'settle' then
  local item = call('HGET', items_key, ARGV[2])
  if not item then return 0 end
  if ARGV[3] == '' then
    call('HDEL', items_key, ARGV[2])
    call('ZREM', due_key, ARGV[2])
  else
    call('HSET', items_key, ARGV[2], struct.pack('<I4', tonumber(ARGV[4])) .. string.sub(item, 5))
    call('ZADD', due_key, ARGV[3], ARGV[2])
  end
  return 1
end

local reached = tonumber(call('GET', next_key) or '0')
if ARGV[1] == 'skip' then
  if tonumber(ARGV[2]) > reached then call('SET', next_key, ARGV[2]) end
  return 1
end

local held, taken = call('HLEN', items_key), 0
for at = 5, #ARGV, 3 do
  local ordinal, id = tonumber(ARGV[at]), ARGV[at + 1]
  if ordinal >= reached then
    if held >= tonumber(ARGV[2]) then
      call('SET', next_key, ARGV[at])
      return taken
    end
    local item = struct.pack('<I4', 0) .. struct.pack('<I8', tonumber(ARGV[4])) .. ARGV[at + 2]
    if call('HSETNX', items_key, id, item) == 1 then
      call('ZADD', due_key, ARGV[4], id)
      held = held + 1
    end
  end
  taken = taken + 1
end
if tonumber(ARGV[3]) > reached then call('SET', next_key, ARGV[3]) end
return taken
