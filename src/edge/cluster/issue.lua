-- Keeps a ticket: KEYS[1] its name, KEYS[2] the revocations.
-- ARGV: what it stands for, sealed; how long (ms).
-- Before it stands the last revocation that was told before it.
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
local id = '0-0'
if last[1] then
  id = last[1][1]
end
redis.call('SET', KEYS[1], id .. ' ' .. ARGV[1], 'PX', ARGV[2])
return 1
