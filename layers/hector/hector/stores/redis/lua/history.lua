-- owner, limit
local hot, limit = read_hot(), tonumber(ARGV[3])
if not mine(hot, ARGV[2]) then return {'gone'} end
local found = {}
if limit > 0 then
  for index, suffix in ipairs(redis.call('ZRANGE', base .. ':turns', -limit, -1)) do
    found[index] = {suffix, redis.call('HGETALL', task_key(suffix))}
  end
end
return {'ok', found}
