-- session id; KEYS[1] is an idempotency key, which is free again unless it stands for another session by now.
local value = redis.call('GET', KEYS[1])
if value and string.match(value, '^%S+') == ARGV[2] then redis.call('DEL', KEYS[1]) end
return {'ok'}
