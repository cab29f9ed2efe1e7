-- suffix, nonce
local hot, suffix = read_hot(), ARGV[2]
local found = redis.call('HMGET', task_key(suffix), 'nonce', 'state')
if not hot or found[1] ~= ARGV[3] or found[2] ~= 'submitted' or hot.open == suffix then return {'ok'} end
local keys, key = redis.call('HGETALL', base .. ':keys'), nil
for index = 1, #keys, 2 do
  if string.sub(keys[index + 1], 1, 19) == suffix then key = keys[index] end
end
if key and place(waiting(hot), suffix) then return {'ok'} end
redis.call('DEL', task_key(suffix))
redis.call('ZREM', base .. ':tasks', suffix)
leave_line(hot, suffix)
if key then redis.call('HDEL', base .. ':keys', key) end
return {'ok'}
