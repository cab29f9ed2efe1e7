-- owner, suffix, after, limit: of a task that has ended, though its session has expired since.
local hot, suffix = read_hot(), ARGV[3]
if not hot or hot.owner ~= ARGV[2] then return {'gone'} end
local task = redis.call('HGETALL', task_key(suffix))
if #task == 0 then return {'gone'} end
return {'ok', task, redis.call('XRANGE', log_key(suffix), '(' .. ARGV[4] .. '-0', '+', 'COUNT', ARGV[5])}
