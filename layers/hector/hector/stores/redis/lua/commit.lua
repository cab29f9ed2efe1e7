-- fence, suffix, nonce, turn, the outcome's fields and values
local hot, suffix, nonce = read_hot(), ARGV[3], ARGV[4]
if not held(hot, ARGV[2], suffix) then return {'lost'} end
local task = task_key(suffix)
local state = redis.call('HGET', task, 'state')
if not state then return {'gone'} end
if not terminal(state) then
  redis.call('HSET', task, 'nonce', nonce, 'turn', ARGV[5], unpack(ARGV, 6))
  redis.call('ZADD', base .. ':turns', ARGV[5], suffix)
  rest(hot, base .. ':turns')
elseif redis.call('HGET', task, 'nonce') ~= nonce then
  return {'closed', state}
end
return {'ok', redis.call('HGETALL', task)}
