-- owner, suffix, after, limit. The last answer is where a reader waits for the next change of a task's state.
local hot, suffix = read_hot(), ARGV[3]
local state = mine(hot, ARGV[2]) and redis.call('HGET', task_key(suffix), 'state')
if not state then return {'gone'} end
local events = redis.call('XRANGE', log_key(suffix), '(' .. ARGV[4] .. '-0', '+', 'COUNT', ARGV[5])
local newest = redis.call('XREVRANGE', base .. ':wake', '+', '-', 'COUNT', 1)[1]
return {'ok', shown(hot), state, events, newest and newest[1] or '0-0'}
