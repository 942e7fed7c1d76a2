-- Tells a lease what a key spent before it, so that the key's cap can be watched. KEYS: lease, keys.
-- ARGV: epoch, key, nano-USD, the part of them that is only in doubt. Answers OK or OLD.
local lease = redis.call('HMGET', KEYS[1], 'e', 'g')
if lease[1] ~= ARGV[1] or lease[2] ~= string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') then return 'OLD' end
redis.call('HSET', KEYS[2], ARGV[2] .. ':b', ARGV[3], ARGV[2] .. ':d', ARGV[4])
return 'OK'
