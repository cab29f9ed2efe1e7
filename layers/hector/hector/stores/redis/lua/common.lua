-- What the scripts share; this comes before each of them. KEYS[1] is a session's hot record, whose name begins the names
-- of everything else of the session; ARGV[1] is now. FIELDS and NUMBERS, the hot record's, come from items.py.
-- Nothing is written before a script is sure: a script is not undone when it fails. What it looks at is among KEYS, so
-- that a cluster in which the slot is being moved refuses the whole of it (TRYAGAIN), and no key seems to be missing.
local base, now = KEYS[1], tonumber(ARGV[1])
local MINUTE, DAY = 60000, 86400000

local function text(number)
  return string.format('%.0f', number)
end

local function task_key(suffix) return base .. ':task:' .. suffix end
local function log_key(suffix) return base .. ':log:' .. suffix end
local function session_id() return string.match(base, '{(.-)}') end

local function read_hot()
  local values = redis.call('HMGET', base, unpack(FIELDS))
  if not values[1] then return nil end
  local hot = {}
  for index, name in ipairs(FIELDS) do hot[name] = values[index] or '' end
  for _, name in ipairs(NUMBERS) do hot[name] = tonumber(hot[name]) end
  return hot
end

local function shown(hot)
  local values = {}
  for index, name in ipairs(FIELDS) do
    local value = hot[name]
    values[index] = type(value) == 'number' and text(value) or value
  end
  return values
end

local function save(hot, ...)
  local values = {}
  for _, name in ipairs({...}) do
    local value = hot[name]
    values[#values + 1] = name
    values[#values + 1] = type(value) == 'number' and text(value) or value
  end
  redis.call('HSET', base, unpack(values))
end

local function expires_at(hot) return math.max(hot.idle_until, hot.lease_until) end
local function alive(hot) return hot and expires_at(hot) > now end
local function mine(hot, owner) return alive(hot) and hot.owner == owner end
local function held(hot, fence, suffix) return alive(hot) and text(hot.fence) == fence and hot.open == suffix end

-- Everything but the hot record carries one far expiry, `kept`, set when it is written.
local function rest(hot, key)
  redis.call('PEXPIRE', key, text(hot.kept - now))
end

local function keep_rest(hot)
  for _, part in ipairs({':tasks', ':turns', ':keys'}) do rest(hot, base .. part) end
  for _, suffix in ipairs(redis.call('ZRANGE', base .. ':tasks', 0, -1)) do
    rest(hot, task_key(suffix))
    rest(hot, log_key(suffix))
  end
end

-- The hot record goes first. A turn that runs on for a day beyond the last expiry takes the rest along.
local function keep_hot(hot)
  local last = expires_at(hot) + MINUTE
  if last > hot.kept then
    hot.kept = last + DAY
    save(hot, 'kept')
    keep_rest(hot)
  end
  redis.call('PEXPIRE', base, text(last - now))
end

local function slide(hot) hot.idle_until = math.min(now + hot.ttl, hot.last_expiry) end

-- In a listing by activity, which lives for as long as any of its sessions can.
local function list(key, id, activity, last_expiry)
  local left = text(last_expiry + DAY - now)
  redis.call('ZADD', key, 'GT', text(activity), id)
  if redis.call('PEXPIRE', key, left, 'NX') == 0 then redis.call('PEXPIRE', key, left, 'GT') end
end

-- Activity: seen in the listings KEYS[2] and KEYS[3], too. In a cluster they are elsewhere: there, KEYS[2] is base.
local function act(hot)
  hot.activity = now
  slide(hot)
  if KEYS[2] ~= base then
    list(KEYS[2], session_id(), now, hot.last_expiry)
    list(KEYS[3], session_id(), now, hot.last_expiry)
  end
end

-- The tasks that wait, as `suffix,!suffix`: one with a mark interrupts those before it.
local function waiting(hot)
  local line = {}
  for mark, suffix in string.gmatch(hot.line, '(!?)(%w+)') do line[#line + 1] = {mark = mark, suffix = suffix} end
  return line
end

local function set_line(hot, line)
  local entries = {}
  for index, entry in ipairs(line) do entries[index] = entry.mark .. entry.suffix end
  hot.line = table.concat(entries, ',')
end

local function place(line, suffix)
  for index, entry in ipairs(line) do
    if entry.suffix == suffix then return index end
  end
end

local function leave_line(hot, suffix)
  local line = waiting(hot)
  local found = place(line, suffix)
  if not found then return end
  table.remove(line, found)
  set_line(hot, line)
  save(hot, 'line')
end

-- Tells those who block on the session that a task's state has changed. Nobody blocks for longer than this is kept; it
-- is kept when the session is deleted, too.
local function wake(suffix)
  redis.call('XADD', base .. ':wake', 'MAXLEN', '1', '*', 't', suffix)
  redis.call('PEXPIRE', base .. ':wake', MINUTE)
end

-- While it grows, a stream takes 4 KB at least; its copy takes what it needs.
local function shrink(log)
  if redis.call('COPY', log, log .. ':copy', 'REPLACE') == 1 then redis.call('RENAME', log .. ':copy', log) end
end

-- The tasks of a listing. One that is not there has just been moved to another node of a cluster: all are asked again.
local function tasks_of(suffixes)
  local found = {}
  for index, suffix in ipairs(suffixes) do
    local values = redis.call('HGETALL', task_key(suffix))
    if #values == 0 then return nil, redis.error_reply('TRYAGAIN a task is being moved') end
    found[index] = {suffix, values}
  end
  return found
end

local function terminal(state) return state ~= 'submitted' and state ~= 'working' end

local function last_number(log)
  local newest = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  return newest and tonumber(string.match(newest[1], '^%d+')) or 0
end
