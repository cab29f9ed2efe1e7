-- owner, limit
local hot, limit = read_hot(), tonumber(ARGV[3])
if not mine(hot, ARGV[2]) then return {'gone'} end
local found, moved = tasks_of(limit > 0 and redis.call('ZRANGE', base .. ':turns', -limit, -1) or {})
return moved or {'ok', found}
