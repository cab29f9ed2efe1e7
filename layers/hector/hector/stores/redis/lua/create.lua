-- expires_at, then the hot record's fields and values. What was staged becomes visible by it.
local hot = read_hot()
if not hot then
  if tonumber(ARGV[2]) <= now then return {'expired'} end
  redis.call('HSET', base, unpack(ARGV, 3))
  local staged = redis.call('HGETALL', base .. ':staged')
  if #staged > 0 then
    redis.call('HSET', base, unpack(staged))
    redis.call('HDEL', base, 'tasks')
    redis.call('UNLINK', base .. ':staged')
  end
  hot = read_hot()
  keep_rest(hot)
  keep_hot(hot)
end
return {'ok', shown(hot), redis.call('HGET', base, 'metadata') or ''}
