-- What a ticket stands for: KEYS[1] its name, KEYS[2] the revocations. ARGV: 1 if it is used up.
-- Gives that, sealed, then the revocations that were told after it was issued; or nothing.
local kept = redis.call('GET', KEYS[1])
if not kept then
  return {}
end
if ARGV[1] == '1' then
  redis.call('DEL', KEYS[1])
end
local space = string.find(kept, ' ', 1, true)
local answer = {string.sub(kept, space + 1)}
local since = '(' .. string.sub(kept, 1, space - 1)
for _, entry in ipairs(redis.call('XRANGE', KEYS[2], since, '+')) do
  -- Of each entry the fields: node, its value, whose, its value.
  answer[#answer + 1] = entry[2][4]
end
return answer
