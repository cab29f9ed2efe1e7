-- owner, the two ends of a range of suffixes, count, 'REV' or ''
local hot = read_hot()
if not mine(hot, ARGV[2]) then return {'gone'} end
local range = {base .. ':tasks', ARGV[3], ARGV[4], 'BYLEX'}
if ARGV[6] == 'REV' then range[5] = 'REV' end
for _, word in ipairs({'LIMIT', 0, ARGV[5]}) do range[#range + 1] = word end
local found, moved = tasks_of(redis.call('ZRANGE', unpack(range)))
return moved or {'ok', hot.open, found}
