-- text, through: of turns that are staged.
if redis.call('EXISTS', base) == 1 then return {'there'} end
redis.call('HSET', base .. ':staged', 'summary', ARGV[2], 'through', ARGV[3])
redis.call('PEXPIRE', base .. ':staged', text(DAY))
return {'ok'}
