-- Takes back what a lease has left: its limits become what is spent and held. KEYS: lease. ARGV: epoch.
-- Answers OK and the limits now, cash and plan, or OLD. A grant that is still on its way comes to nothing.
local lease = redis.call('HMGET', KEYS[1], 'e', 'g', 'used', 'held', 'pused', 'pheld')
if lease[1] ~= ARGV[1] or not lease[5] or lease[2] ~= string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') then return {'OLD'} end
local cash = string.format('%.0f', tonumber(lease[3]) + tonumber(lease[4]))
local plan = string.format('%.0f', tonumber(lease[5]) + tonumber(lease[6]))
redis.call('HSET', KEYS[1], 'lim', cash, 'plim', plan)
redis.call('HINCRBY', KEYS[1], 'r', 1)
return {'OK', cash, plan}
