-- For the clean-up: when a session expires, or, if it has, its hot record's end.
local hot = read_hot()
if alive(hot) then return {'alive', text(expires_at(hot))} end
if hot then redis.call('DEL', base) end
return {'expired'}
