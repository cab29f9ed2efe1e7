-- seen, then session ids; KEYS[1] is a listing by activity: those that have not been active since `seen` leave it.
for index = 3, #ARGV do
  local activity = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[index]) or '')
  if activity and activity <= tonumber(ARGV[2]) then redis.call('ZREM', KEYS[1], ARGV[index]) end
end
return {'ok'}
