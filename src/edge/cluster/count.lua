-- How many streams this node has open, for each of KEYS.
-- ARGV: this node, how long it is believed (ms), then a count for each key.
local clock = redis.call('TIME')
local now_ms = math.floor((clock[1] * 1000000 + clock[2]) / 1000)
local node, life = ARGV[1], tonumber(ARGV[2])
for place, key in ipairs(KEYS) do
  local count = tonumber(ARGV[place + 2])
  if count > 0 then
    redis.call('HSET', key, node, string.format('%d %d', count, now_ms))
    redis.call('PEXPIRE', key, life)
  else
    redis.call('HDEL', key, node)
  end
end
return #KEYS
