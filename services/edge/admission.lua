-- Sets credit aside for one request, if the org's lease in this Redis covers it.
-- KEYS: lease, holds. ARGV: request id, nano-USD needed.
-- Answers OK epoch | DUP amount epoch | NEED free | COLD.
-- The lease names the Redis process that it was made in. That is compared here, inside the script: a client that read
-- it before a restart would spend credit that is already in doubt.
local lease = redis.call('HMGET', KEYS[1], 'e', 'g', 'lim', 'used', 'held')
if not lease[1] or lease[2] ~= string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') then return {'COLD'} end
local before = redis.call('HGET', KEYS[2], ARGV[1])
if before then
  local amount, epoch = string.match(before, '^(%d+):(%d+)$')
  return {'DUP', amount, epoch}
end
local free = tonumber(lease[3]) - tonumber(lease[4]) - tonumber(lease[5])
if tonumber(ARGV[2]) > free then return {'NEED', string.format('%.0f', free)} end
redis.call('HINCRBY', KEYS[1], 'held', ARGV[2])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2] .. ':' .. lease[1])
return {'OK', lease[1]}
