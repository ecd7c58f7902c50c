-- Says that a node is there: KEYS[1] the nodes. ARGV: this node, how long it is believed (ms).
-- Gives how many there are.
local clock = redis.call('TIME')
local now_ms = math.floor((clock[1] * 1000000 + clock[2]) / 1000)
local life = tonumber(ARGV[2])
redis.call('ZADD', KEYS[1], now_ms, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now_ms - life)
redis.call('PEXPIRE', KEYS[1], life)
return redis.call('ZCARD', KEYS[1])
