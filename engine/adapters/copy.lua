-- A copy of one shard as of one offset, taken while its owner goes on. docs/state.md describes it.
--
-- While field 'copying' of the head holds a time that is not over, commits and deliveries note the keys they change in
-- the set X, and keep touch entries they would drop. Whoever copies reads every key once, then those in X until few are
-- left, and these last together with the head in one call: that is the copy's moment.
--
-- KEYS[1]  the shard's head hash
-- ARGV[1]  'begin': 2 token, 3 lease (ms). Returns {'O', offset or ''}, {'T', offset, writing} torn,
--          or {'B', token of another} where somebody else is at it
--          'keep': 2 token, 3 lease (ms). {'O'}, or {'L'} where the lease is lost
--          'read': 2 time now (ms), then names of keys. Returns {name, type, expiry (ms) or 0, value, …}
--          'take': 2 token, 3 time now (ms), 4 most names. {'O', names left in X, {name, type, …}}, or {'L'}
--          'cut': 2 token, 3 time now (ms), 4 most names, then names of further keys to read.
--          {'O', {name, type, …}} and the copy ends, {'M'} where X holds more, or {'L'}
--          'end': 2 token. Gives up: {'O'}
--          'claim': 2 layout, 3 offset, 4 '1' to replace a shard that is there, 5 '1' to keep its journal as K.
--          {'O'}, and nobody can open the shard until its head is written; or {'E', offset} where there is one
local call = redis.call
local head, what = KEYS[1], ARGV[1]
local base = string.sub(head, 1, -2)
local changed = base .. 'X'
local FIXED = {'O', 'T', 'D', 'I', 'H'}
local OWN = {copying = true, copier = true}

local function now_ms()
  local time = call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function mine(token)
  local held = call('HMGET', head, 'copying', 'copier')
  return held[2] == token and tonumber(held[1]) > now_ms()
end

local function finish()
  call('HDEL', head, 'copying', 'copier')
  call('UNLINK', changed)
end

local READ = {
  string = function(key) return call('GET', key) end,
  list = function(key) return call('LRANGE', key, 0, -1) end,
  set = function(key) return call('SMEMBERS', key) end,
  zset = function(key) return call('ZRANGE', key, 0, -1, 'WITHSCORES') end,
  hash = function(key)
    local all, kept = call('HGETALL', key), {}
    for at = 1, #all, 2 do
      if key ~= head or not OWN[all[at]] then
        kept[#kept + 1] = all[at]
        kept[#kept + 1] = all[at + 1]
      end
    end
    return kept
  end,
}

local function read(names, first, now, found)
  for at = first, #names do
    local key = base .. names[at]
    local kind = call('TYPE', key)['ok']
    local reader, left = READ[kind], call('PTTL', key)
    found[#found + 1] = names[at]
    found[#found + 1] = reader and kind or 'none'
    found[#found + 1] = left > 0 and string.format('%.0f', now + left) or '0'
    found[#found + 1] = reader and reader(key) or ''
  end
  return found
end

if what == 'begin' then
  local stored = call('HMGET', head, 'offset', 'writing', 'copying', 'copier')
  if (stored[2] or '') ~= (stored[1] or '') then return {'T', stored[1] or '', stored[2] or ''} end
  if stored[4] and stored[4] ~= ARGV[2] and tonumber(stored[3]) > now_ms() then return {'B', stored[4]} end
  call('UNLINK', changed)
  call('HSET', head, 'copying', string.format('%.0f', now_ms() + tonumber(ARGV[3])), 'copier', ARGV[2])
  return {'O', stored[1] or ''}
elseif what == 'read' then
  return read(ARGV, 3, tonumber(ARGV[2]), {})
elseif what == 'claim' then
  if call('EXISTS', head) == 1 and ARGV[4] ~= '1' then return {'E', call('HGET', head, 'offset') or ''} end
  call('DEL', head)
  call('HSET', head, 'layout', ARGV[2], 'writing', ARGV[3])
  -- The journal makes way for that of the shard as it is rebuilt; one that was kept before is the whole one.
  local journal, kept = base .. 'J', base .. 'K'
  if ARGV[5] ~= '1' then
    call('UNLINK', journal, kept)
  elseif call('EXISTS', journal) == 1 and call('EXISTS', kept) == 0 then
    call('RENAME', journal, kept)
  else
    call('UNLINK', journal)
  end
  return {'O'}
elseif not mine(ARGV[2]) then
  return {'L'}
elseif what == 'keep' then
  call('HSET', head, 'copying', string.format('%.0f', now_ms() + tonumber(ARGV[3])))
  return {'O'}
elseif what == 'take' then
  local names = call('SPOP', changed, ARGV[4])
  return {'O', call('SCARD', changed), read(names, 1, tonumber(ARGV[3]), {})}
elseif what == 'cut' then
  if call('SCARD', changed) > tonumber(ARGV[4]) then return {'M'} end
  local now = tonumber(ARGV[3])
  local found = read(call('SMEMBERS', changed), 1, now, {})
  read(ARGV, 5, now, found)
  read(FIXED, 1, now, found)
  finish()
  return {'O', found}
end
finish()
return {'O'}
