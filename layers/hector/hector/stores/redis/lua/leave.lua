-- owner, suffix, nonce, '1' to cancel, the outcome's fields and values. To cancel is to mark an open turn, or to leave;
-- what has said something, and waits again, stays.
local hot, suffix, nonce, cancel = read_hot(), ARGV[3], ARGV[4], ARGV[5] == '1'
local task = task_key(suffix)
local state = mine(hot, ARGV[2]) and redis.call('HGET', task, 'state')
if not state then return {'gone'} end
if cancel and terminal(state) and redis.call('HGET', task, 'nonce') ~= nonce then return {'ended', state} end
if hot.open == suffix then
  if cancel and not terminal(state) then
    hot.cancel = suffix
    save(hot, 'cancel')
  end
elseif not (cancel and last_number(log_key(suffix)) > 0) then
  local ends = not terminal(state)
  if ends then redis.call('HSET', task, 'nonce', nonce, unpack(ARGV, 6)) end
  leave_line(hot, suffix)
  if ends and hot.open == '' then -- for a claim that is on its way
    hot.cancel = suffix
    save(hot, 'cancel')
  end
  wake(suffix)
end
return {'ok', hot.open, redis.call('HGETALL', task)}
