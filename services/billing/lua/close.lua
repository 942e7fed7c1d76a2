-- Ends a lease that nobody has asked for a while and that nothing is held in.
-- KEYS: lease, holds, keys. ARGV: epoch, milliseconds that count as a while.
-- Answers OK and what was spent in it, cash and plan | BUSY | OLD when the lease is another one or another process's.
local lease = redis.call('HMGET', KEYS[1], 'e', 'g', 't', 'held', 'pheld', 'used', 'pused')
if lease[1] ~= ARGV[1] or not lease[7] or lease[2] ~= string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') then return {'OLD'} end
local time = redis.call('TIME')
local idle = time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(lease[3])
if lease[4] ~= '0' or lease[5] ~= '0' or idle < tonumber(ARGV[2]) then return {'BUSY'} end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
return {'OK', lease[6], lease[7]}
