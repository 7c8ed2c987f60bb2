-- Replaces a value that still is what the caller read. KEYS[1] the key; ARGV 1 what it read, '' for nothing, 2 the new
-- value. Returns 1 where it was replaced, else 0.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
