-- suffix, idempotency key's hash ('' for none), fingerprint, the task's fields and values. A key's value is the suffix
-- of its task, 19 characters, and the fingerprint.
local hot = read_hot()
if not alive(hot) then return {'gone'} end
local suffix, key, fingerprint = ARGV[2], ARGV[3], ARGV[4]
if key ~= '' then
  local known = redis.call('HGET', base .. ':keys', key)
  if not known then
    redis.call('HSET', base .. ':keys', key, suffix .. fingerprint)
    rest(hot, base .. ':keys')
  elseif string.sub(known, 20) ~= fingerprint then
    return {'reused'}
  else
    suffix = string.sub(known, 1, 19)
    if redis.call('EXISTS', task_key(suffix)) == 0 then return redis.error_reply('TRYAGAIN a task is being moved') end
  end
end
local task = task_key(suffix)
if redis.call('EXISTS', task) == 0 then
  redis.call('HSET', task, unpack(ARGV, 5))
  redis.call('ZADD', base .. ':tasks', 0, suffix)
  rest(hot, task)
  rest(hot, base .. ':tasks')
end
return {'ok', suffix, redis.call('HGETALL', task)}
