-- For the clean-up: when to look at a session again, or, a minute after its expiry, its hot record's end. One that turns
-- are being staged for is looked at again later.
local hot = read_hot()
if alive(hot) then return {'alive', text(expires_at(hot))} end
if hot and expires_at(hot) + MINUTE > now then return {'alive', text(expires_at(hot) + MINUTE)} end
if hot then redis.call('DEL', base) end
if redis.call('EXISTS', base .. ':staged') == 1 then return {'alive', text(now + MINUTE)} end
return {'expired'}
