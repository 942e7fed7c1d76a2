-- Opens a lease. KEYS: lease, holds, ticket. ARGV: ticket, run id, epoch, limit.
-- Late and repeated calls change nothing: the ticket is used up, the process is another, or the epoch has passed.
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if redis.call('GET', KEYS[3]) ~= ARGV[1] or run_id ~= ARGV[2] then return 'STALE' end
redis.call('DEL', KEYS[3])
local epoch = redis.call('HGET', KEYS[1], 'e')
if epoch and tonumber(epoch) >= tonumber(ARGV[3]) then return 'OLD' end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'e', ARGV[3], 'g', run_id, 'lim', ARGV[4], 'used', 0, 'held', 0)
return 'OK'
