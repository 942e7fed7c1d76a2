-- Sets credit aside for one request, if the org's lease in this Redis covers it: the plan's first, then cash.
-- KEYS: lease, holds, keys. ARGV: request id, nano-USD needed, key, cap of the key ('' for none).
-- Answers OK epoch cash plan authorized-at | DUP with the same | COLD | NEED free | KEYCOLD | KEYCAP left doubt.
-- The lease names the Redis process that it was made in. That is compared here, inside the script: a client that read
-- it before a restart would spend credit that is already in doubt. A lease without a plan's part was made by a release
-- that knew no plans; it counts as lost too.
if not string.match(ARGV[2], '^[1-9]%d*$') then return redis.error_reply('ERR a hold is a positive integer') end
local lease = redis.call('HMGET', KEYS[1], 'e', 'g', 'lim', 'used', 'held', 'plim', 'pused', 'pheld')
if not lease[6] or lease[2] ~= string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') then return {'COLD'} end
local before = redis.call('HGET', KEYS[2], ARGV[1])
if before then
  local cash, plan, epoch, at = string.match(before, '^(%d+):(%d+):(%d+):(%d+):')
  return {'DUP', epoch, cash, plan, at}
end
local need = tonumber(ARGV[2])
if ARGV[4] ~= '' then
  local spent = redis.call('HMGET', KEYS[3], ARGV[3] .. ':b', ARGV[3] .. ':u', ARGV[3] .. ':h', ARGV[3] .. ':d')
  if not spent[1] then return {'KEYCOLD'} end
  local left = tonumber(ARGV[4]) - tonumber(spent[1]) - tonumber(spent[2] or 0) - tonumber(spent[3] or 0)
  if need > left then return {'KEYCAP', string.format('%.0f', math.max(left, 0)), spent[4]} end
end
local free = math.max(tonumber(lease[3]) - tonumber(lease[4]) - tonumber(lease[5]), 0)
local plan_free = math.max(tonumber(lease[6]) - tonumber(lease[7]) - tonumber(lease[8]), 0)
if need > plan_free + free then return {'NEED', string.format('%.0f', plan_free + free)} end
local plan = math.min(need, plan_free)
local cash = string.format('%.0f', need - plan)
plan = string.format('%.0f', plan)
local now = redis.call('TIME')
local at = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000))
redis.call('HINCRBY', KEYS[1], 'held', cash)
redis.call('HINCRBY', KEYS[1], 'pheld', plan)
redis.call('HSET', KEYS[1], 't', at)
redis.call('HINCRBY', KEYS[3], ARGV[3] .. ':h', ARGV[2])
redis.call('HSET', KEYS[2], ARGV[1], table.concat({cash, plan, lease[1], at, ARGV[3]}, ':'))
return {'OK', lease[1], cash, plan, at}
