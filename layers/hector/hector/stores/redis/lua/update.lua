-- owner, ttl ('' for none), '1' if there is metadata, the metadata
local hot = read_hot()
if not mine(hot, ARGV[2]) then return {'gone'} end
if ARGV[4] == '1' then redis.call('HSET', base, 'metadata', ARGV[5]) end
if ARGV[3] ~= '' then
  hot.ttl = tonumber(ARGV[3])
  slide(hot)
  save(hot, 'ttl', 'idle_until')
  keep_hot(hot)
end
return {'ok', shown(hot), redis.call('HGET', base, 'metadata') or ''}
