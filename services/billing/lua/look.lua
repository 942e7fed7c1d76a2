-- How an org's lease stands in this Redis, and permission to make a new one if it has to be.
-- KEYS: lease, ticket. ARGV: a ticket made up by the caller.
-- Answers WARM epoch limit used held | COLD run-id. A ticket is left behind only for the cold.
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local lease = redis.call('HMGET', KEYS[1], 'e', 'g', 'lim', 'used', 'held')
if lease[1] and lease[2] == run_id then return {'WARM', lease[1], lease[3], lease[4], lease[5]} end
redis.call('SET', KEYS[2], ARGV[1], 'PX', 5000)
return {'COLD', run_id}
