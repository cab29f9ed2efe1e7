-- fence, suffix, extend, the first number ('' for no events), then for each event its field and value. An event's number
-- is its entry's id. A batch that is sent again, longer perhaps, adds what is new in it.
local hot, suffix = read_hot(), ARGV[3]
if not held(hot, ARGV[2], suffix) then return {'lost'} end
local number = tonumber(ARGV[5])
if number then
  local log = log_key(suffix)
  local last = last_number(log)
  if number > last + 1 then return {'gap', text(last)} end
  for index = 6, #ARGV, 2 do
    if number > last then redis.call('XADD', log, text(number) .. '-0', ARGV[index], ARGV[index + 1]) end
    number = number + 1
  end
  rest(hot, log)
end
hot.lease_until = now + tonumber(ARGV[4])
save(hot, 'lease_until')
keep_hot(hot)
return {'ok', shown(hot)}
