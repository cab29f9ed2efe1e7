-- owner. With the hot record, nobody can read or write what is left: `erase` comes after.
local hot = read_hot()
if not mine(hot, ARGV[2]) then return {'gone'} end
redis.call('DEL', base)
wake('deleted')
return {'ok'}
