-- owner. With the hot record, nobody can read or write what is left: `erase` comes after. A tombstone wakes followers.
local hot = read_hot()
if not mine(hot, ARGV[2]) then return {'gone'} end
redis.call('DEL', base)
wake(hot, 'deleted')
redis.call('PEXPIRE', base .. ':wake', TOMBSTONE)
return {'ok'}
