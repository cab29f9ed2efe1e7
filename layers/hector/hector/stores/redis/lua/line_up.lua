-- owner, suffix, most, '!' if it interrupts
local hot, suffix, most = read_hot(), ARGV[3], tonumber(ARGV[4])
local state = mine(hot, ARGV[2]) and redis.call('HGET', task_key(suffix), 'state')
if not state then return {'gone'} end
local line = waiting(hot)
if not terminal(state) and hot.open ~= suffix and not place(line, suffix) then
  if most == 0 and hot.open ~= '' then return {hot.lease_until > now and 'busy' or 'lost_turn', hot.open} end
  if #line >= math.max(most, 1) then return {most == 0 and 'busy' or 'full', line[1].suffix} end
  line[#line + 1] = {mark = ARGV[5], suffix = suffix}
  set_line(hot, line)
  act(hot)
  save(hot, 'line', 'activity', 'idle_until')
  keep_hot(hot)
end
return {'ok', shown(hot), redis.call('HGET', base, 'metadata') or ''}
