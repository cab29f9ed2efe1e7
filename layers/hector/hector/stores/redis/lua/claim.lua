-- owner, suffix, lease, nonce, '1' if a lost turn may be taken over
local hot, suffix, nonce = read_hot(), ARGV[3], ARGV[5]
if not mine(hot, ARGV[2]) then return {'gone'} end
local own = false
if hot.open ~= '' then
  if hot.lease_until > now then
    own = hot.open == suffix and hot.lease_nonce == nonce
    if not own then return {'busy', hot.open} end
  elseif hot.open ~= suffix or ARGV[6] ~= '1' then
    return {'lost_turn', hot.open}
  end
else
  local line = waiting(hot)
  if line[1] then
    if line[1].suffix ~= suffix then return {'busy', line[1].suffix} end
    table.remove(line, 1)
    set_line(hot, line)
  end
end
if not own then
  hot.open, hot.fence, hot.lease_nonce, hot.lease_until = suffix, hot.fence + 1, nonce, now + tonumber(ARGV[4])
  act(hot)
  save(hot, 'open', 'fence', 'lease_nonce', 'lease_until', 'activity', 'idle_until', 'line')
  keep_hot(hot)
end
return {'ok', shown(hot), redis.call('HGET', base, 'metadata') or ''}
