-- Opens a lease. KEYS: lease, holds, keys, ticket. ARGV: ticket, run id, epoch, limit of cash, limit of the plan.
-- Late and repeated calls change nothing: the ticket is used up, the process is another, or the epoch has passed.
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if redis.call('GET', KEYS[4]) ~= ARGV[1] or run_id ~= ARGV[2] then return 'STALE' end
redis.call('DEL', KEYS[4])
local epoch = redis.call('HGET', KEYS[1], 'e')
if epoch and tonumber(epoch) >= tonumber(ARGV[3]) then return 'OLD' end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
redis.call('HSET', KEYS[1], 'e', ARGV[3], 'g', run_id, 't', now, 'r', 0, 'lim', ARGV[4], 'used', 0, 'held', 0,
  'plim', ARGV[5], 'pused', 0, 'pheld', 0)
return 'OK'
