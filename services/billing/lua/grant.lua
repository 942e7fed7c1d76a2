-- Raises a lease's limits to what the ledger has granted it. KEYS: lease.
-- ARGV: epoch, revocations that were seen, limit of cash, limit of the plan.
-- Calls may repeat and overtake one another: limits only ever rise, and a call from before a revocation does nothing.
local lease = redis.call('HMGET', KEYS[1], 'e', 'g', 'r', 'lim', 'plim')
if lease[1] ~= ARGV[1] or lease[2] ~= string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') then return 'OLD' end
if lease[3] ~= ARGV[2] then return 'OLD' end
if tonumber(ARGV[3]) > tonumber(lease[4]) then redis.call('HSET', KEYS[1], 'lim', ARGV[3]) end
if tonumber(ARGV[4]) > tonumber(lease[5]) then redis.call('HSET', KEYS[1], 'plim', ARGV[4]) end
return 'OK'
