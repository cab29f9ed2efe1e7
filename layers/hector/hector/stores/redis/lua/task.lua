-- owner, suffix
local hot = read_hot()
if not mine(hot, ARGV[2]) then return {'gone'} end
local task = redis.call('HGETALL', task_key(ARGV[3]))
if #task == 0 then return {'gone'} end
return {'ok', hot.open, task}
