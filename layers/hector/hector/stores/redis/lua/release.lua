-- fence, suffix, '1' if it waits again, before all others. KEYS[2]: the sessions in which somebody is at work, or waits;
-- in a cluster, where that is elsewhere, base.
local hot, suffix = read_hot(), ARGV[3]
if not held(hot, ARGV[2], suffix) then return {'lost'} end
shrink(log_key(suffix))
hot.open, hot.lease_until = '', 0
hot.turns = math.max(hot.turns, tonumber(redis.call('HGET', task_key(suffix), 'turn') or '') or 0)
slide(hot)
if ARGV[4] == '1' then
  local line = waiting(hot)
  table.insert(line, 1, {mark = '', suffix = suffix})
  set_line(hot, line)
end
save(hot, 'open', 'lease_until', 'turns', 'idle_until', 'line')
keep_hot(hot)
wake(suffix)
if KEYS[2] ~= base and hot.line == '' then redis.call('ZREM', KEYS[2], session_id()) end
return {'ok', hot.line, text(hot.activity)}
