-- fence, suffix, text, through
if not held(read_hot(), ARGV[2], ARGV[3]) then return {'lost'} end
local through = tonumber(redis.call('HGET', base, 'through') or '') or -1
if through < tonumber(ARGV[5]) then redis.call('HSET', base, 'summary', ARGV[4], 'through', ARGV[5]) end
return {'ok'}
