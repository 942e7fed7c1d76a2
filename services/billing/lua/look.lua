-- How an org's lease stands in this Redis, and permission to make a new one if it has to be.
-- KEYS: lease, holds, keys, ticket. ARGV: a ticket made up by the caller, the limit that a lease grows no further from.
-- Answers WARM now epoch revocations lim used held plim pused pheld | COLD now run-id; now is Unix milliseconds.
-- A ticket is left behind only for the cold. A lease that grew near to what can be counted exactly is over, and so is
-- one of a release that knew no plans: what was held in it is charged all the same, and its credit is in doubt until
-- then, as after a loss of Redis.
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local lease = redis.call('HMGET', KEYS[1], 'e', 'g', 'r', 'lim', 'used', 'held', 'plim', 'pused', 'pheld')
if lease[1] and lease[2] == run_id then
  if lease[7] and tonumber(lease[4]) + tonumber(lease[7]) < tonumber(ARGV[2]) then
    return {'WARM', now, lease[1], lease[3], lease[4], lease[5], lease[6], lease[7], lease[8], lease[9]}
  end
  redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
end
redis.call('SET', KEYS[4], ARGV[1], 'PX', 5000)
return {'COLD', now, run_id}
