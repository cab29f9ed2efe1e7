-- count, what: erase that many tasks of a session that has no hot record, staged ones only if they are what is meant;
-- how many are left.
if redis.call('EXISTS', base) == 1 then return {'ok', 0} end
if ARGV[3] ~= 'staged' and redis.call('EXISTS', base .. ':staged') == 1 then return {'ok', 0} end
for _, suffix in ipairs(redis.call('ZRANGE', base .. ':tasks', 0, tonumber(ARGV[2]) - 1)) do
  redis.call('UNLINK', task_key(suffix), log_key(suffix))
  redis.call('ZREM', base .. ':tasks', suffix)
end
local left = redis.call('ZCARD', base .. ':tasks')
if left == 0 then redis.call('UNLINK', base .. ':tasks', base .. ':turns', base .. ':keys', base .. ':staged') end
return {'ok', left}
