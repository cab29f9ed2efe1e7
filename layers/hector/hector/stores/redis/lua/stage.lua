-- suffix, turn, how many values the task's fields take, these, then for each event its field and value.
if redis.call('EXISTS', base) == 1 then return {'there'} end
local suffix, count = ARGV[2], tonumber(ARGV[4])
local task, log = task_key(suffix), log_key(suffix)
redis.call('UNLINK', task, log)
redis.call('HSET', task, unpack(ARGV, 5, 4 + count))
redis.call('ZADD', base .. ':tasks', 0, suffix)
if ARGV[3] ~= '0' then redis.call('ZADD', base .. ':turns', ARGV[3], suffix) end
local number = 0
for index = 5 + count, #ARGV, 2 do
  number = number + 1
  redis.call('XADD', log, text(number) .. '-0', ARGV[index], ARGV[index + 1])
end
-- That there are staged tasks: the clean-up must not take them for those of a session that had this id before.
redis.call('HSET', base .. ':staged', 'tasks', '1')
for _, key in ipairs({task, log, base .. ':tasks', base .. ':turns', base .. ':staged'}) do
  redis.call('PEXPIRE', key, text(DAY))
end
return {'ok'}
