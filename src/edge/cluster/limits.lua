-- Whether a request is within its limits, and counts it if it is: in the order of KEYS, up to the
-- first that refuses. What comes after that one is not counted.
-- ARGV: this node, how long a node is believed (ms), then three for each key:
--   'rate', the time between two (microseconds), the time for a burst (microseconds); or
--   'open', how many this node has, how many all may have.
-- Gives the place of the one that refuses and for how many microseconds, or 0 and 0.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local now_ms = math.floor(now / 1000)
local node, life = ARGV[1], tonumber(ARGV[2])

local function rate(key, interval, whole)
  local at = math.max(tonumber(redis.call('GET', key) or now), now)
  -- After a clock that went back, or with a smaller burst, nobody waits longer than for one.
  local next = math.min(at, now + whole) + interval
  -- What is less than a microsecond is rounding.
  local wait = next - now - whole
  if wait > 1 then
    return math.ceil(wait)
  end
  local keep = string.format('%d', math.ceil((next - now) / 1000) + 1)
  redis.call('SET', key, string.format('%.3f', next), 'PX', keep)
  return 0
end

local function open(key, own, max)
  local others = 0
  local counts = redis.call('HGETALL', key)
  for at = 1, #counts, 2 do
    if counts[at] ~= node then
      local count, told = string.match(counts[at + 1], '^(%d+) (%d+)$')
      if count and now_ms - tonumber(told) < life then
        others = others + tonumber(count)
      else
        redis.call('HDEL', key, counts[at])
      end
    end
  end
  if others + own > max then
    return 1
  end
  redis.call('HSET', key, node, string.format('%d %d', own, now_ms))
  redis.call('PEXPIRE', key, life)
  return 0
end

for place, key in ipairs(KEYS) do
  local kind = ARGV[3 * place]
  local first, second = tonumber(ARGV[3 * place + 1]), tonumber(ARGV[3 * place + 2])
  local wait
  if kind == 'rate' then
    wait = rate(key, first, second)
  else
    wait = open(key, first, second)
  end
  if wait > 0 then
    return {place, wait}
  end
end
return {0, 0}
