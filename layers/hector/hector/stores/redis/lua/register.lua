-- session id, owner's listing, expires_at, last expiry; KEYS: every session, and by expiry what the clean-up looks at.
local left = text(tonumber(ARGV[5]) + DAY - now)
redis.call('ZADD', KEYS[1], 0, ARGV[2])
redis.call('ZADD', KEYS[2], 'NX', ARGV[4], ARGV[2] .. ' ' .. ARGV[3])
for _, key in ipairs(KEYS) do
  if redis.call('PEXPIRE', key, left, 'NX') == 0 then redis.call('PEXPIRE', key, left, 'GT') end
end
return {'ok'}
