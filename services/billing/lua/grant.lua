-- Raises a lease's limit to what the ledger has granted it. KEYS: lease. ARGV: epoch, limit.
-- Calls may repeat and overtake one another: the limit only ever rises.
local lease = redis.call('HMGET', KEYS[1], 'e', 'g', 'lim')
if lease[1] ~= ARGV[1] or lease[2] ~= string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') then return 'OLD' end
if tonumber(ARGV[2]) > tonumber(lease[3]) then redis.call('HSET', KEYS[1], 'lim', ARGV[2]) end
return 'OK'
