-- Packed state operations (engine/domain/ops.py): what commit.lua and deliver.lua share, put before either.
local call, sub, byte, unpack = redis.call, string.sub, string.byte, struct.unpack
local CONDITION = 44 -- bytes of a rewrite's condition: length u32, 40 digits of SHA-1

-- Whether a string of operations is whole: how many there are, or nil and what is wrong. `rooms`, where given, are the
-- only ones they may be of, and they are appends and rewrites then.
local function count_ops(ops, rooms)
  local size, position, count = #ops, 1, 0
  while position <= size do
    if position + 7 > size then return nil, 'truncated operation header at byte ' .. position - 1 end
    local kind, key_bytes, _, value_bytes, at = unpack('<BBHI4', ops, position)
    if kind < 1 or kind > 4 then return nil, 'operation of unknown kind ' .. kind .. ' at byte ' .. position - 1 end
    local own = byte(ops, at)
    if key_bytes == 0 or not own or own < 97 or own > 122 then
      return nil, 'state key outside the rooms at byte ' .. position - 1
    end
    if rooms and (not rooms[own] or (kind ~= 1 and kind ~= 4)) then
      return nil, 'operation of a delivery that is no touch at byte ' .. position - 1
    end
    local value_at = at + key_bytes
    position = value_at + value_bytes
    if kind == 4 and (value_bytes < CONDITION or value_at + 3 > size or unpack('<I4', ops, value_at) == 0) then
      return nil, 'operation that rewrites without a condition at byte ' .. at - 9
    end
    count = count + 1
  end
  if position ~= size + 1 then return nil, 'truncated operation at the end' end
  return count
end

-- Applies them to the keys of a shard. With `offsets` (u32 each, of the records they come from), only those from
-- `first` on. `changed`, where given, is the set that takes the names of changed keys: somebody copies the shard
-- (copy.lua). An expiry is set for a sixteenth longer than asked and renewed when less than asked is left: to read it is
-- cheap, and to set it with every append would double what goes into the append-only file.
local function apply_ops(ops, base, changed, offsets, first)
  local names, ttl_hours, ttl_seconds, ttl_text = base .. 'I', 0, 0, '0'
  local size, position, offset_at = #ops, 1, -3
  while position <= size do
    local kind, key_bytes, hours, value_bytes, at = unpack('<BBHI4', ops, position)
    local value_at = at + key_bytes
    position = value_at + value_bytes
    local fresh = true
    if offsets then
      offset_at = offset_at + 4
      fresh = unpack('<I4', offsets, offset_at) >= first
    end
    if fresh then
      local key, value = base .. sub(ops, at, value_at - 1), nil
      if hours ~= ttl_hours then
        ttl_hours, ttl_seconds, ttl_text = hours, hours * 3600, string.format('%d', hours * 3825)
      end
      if kind == 1 then
        local length = call('APPEND', key, sub(ops, value_at, position - 1))
        if hours > 0 and (length == value_bytes or call('TTL', key) < ttl_seconds) then call('EXPIRE', key, ttl_text) end
      elseif kind == 2 then
        value = sub(ops, value_at, position - 1)
      elseif kind == 3 then
        call('DEL', key)
      else
        local length = unpack('<I4', ops, value_at)
        if
          call('STRLEN', key) >= length
          and redis.sha1hex(call('GETRANGE', key, 0, length - 1)) == sub(ops, value_at + 4, value_at + CONDITION - 1)
        then
          value = sub(ops, value_at + CONDITION, position - 1) .. call('GETRANGE', key, length, -1)
        end
      end
      if value then
        if hours > 0 then call('SET', key, value, 'EX', ttl_text) else call('SET', key, value, 'KEEPTTL') end
      end
      if changed then call('SADD', changed, sub(ops, at, value_at - 1)) end
      if byte(ops, at) == 104 then -- 'h': state loaded at assignment is found through an index of its names
        call(kind == 3 and 'SREM' or 'SADD', names, sub(ops, at, value_at - 1))
      end
    end
  end
end

-- The set that takes the names of changed keys, where the shard is being copied until `copying` (ms, or false); else nil.
local function changed_set(head, base, copying)
  if not copying then return nil end
  local time = call('TIME')
  if tonumber(copying) > tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) then return base .. 'X' end
  call('HDEL', head, 'copying', 'copier')
  call('UNLINK', base .. 'X')
  return nil
end

