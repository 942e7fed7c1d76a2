-- Ends one hold: frees what was set aside and counts what was spent, never more than was set aside.
-- KEYS: lease, holds. ARGV: request id, cost in nano-USD.
-- Answers OK and what was spent, or GONE when the hold was settled before or its lease is another one now.
local hold = redis.call('HGET', KEYS[2], ARGV[1])
if not hold then return {'GONE'} end
local amount, epoch = string.match(hold, '^(%d+):(%d+)$')
local spent = math.min(tonumber(ARGV[2]), tonumber(amount))
redis.call('HDEL', KEYS[2], ARGV[1])
if redis.call('HGET', KEYS[1], 'e') ~= epoch then return {'GONE'} end
redis.call('HINCRBY', KEYS[1], 'held', '-' .. amount)
redis.call('HINCRBY', KEYS[1], 'used', string.format('%.0f', spent))
return {'OK', string.format('%.0f', spent)}
