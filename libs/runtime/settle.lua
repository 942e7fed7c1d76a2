-- Ends one hold: frees what was set aside and counts what was spent, the plan's first, never more than was set aside.
-- KEYS: lease, holds, keys. ARGV: request id, cost in nano-USD.
-- Answers OK and what was spent, or GONE when the hold was settled before or its lease is another one now.
if not string.match(ARGV[2], '^%d+$') then return redis.error_reply('ERR a cost is a whole number and not negative') end
local hold = redis.call('HGET', KEYS[2], ARGV[1])
if not hold then return {'GONE'} end
local cash, plan, epoch, key = string.match(hold, '^(%d+):(%d+):(%d+):%d+:(%d+)$')
if not cash then -- an edge of a release that knew no plans
  cash, epoch = string.match(hold, '^(%d+):(%d+)$')
  plan, key = '0', '0'
end
redis.call('HDEL', KEYS[2], ARGV[1])
if redis.call('HGET', KEYS[1], 'e') ~= epoch then return {'GONE'} end
local cost = tonumber(ARGV[2])
local plan_spent = math.min(cost, tonumber(plan))
local cash_spent = math.min(cost - plan_spent, tonumber(cash))
local function add(name, field, amount) redis.call('HINCRBY', name, field, string.format('%.0f', amount)) end
add(KEYS[1], 'held', 0 - cash) -- not `-cash`: a negative zero is no integer to Redis
add(KEYS[1], 'used', cash_spent)
add(KEYS[1], 'pheld', 0 - plan)
add(KEYS[1], 'pused', plan_spent)
add(KEYS[3], key .. ':h', 0 - cash - plan)
add(KEYS[3], key .. ':u', plan_spent + cash_spent)
return {'OK', string.format('%.0f', plan_spent + cash_spent)}
