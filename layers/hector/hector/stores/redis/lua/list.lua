-- session id, activity, last expiry; KEYS[1] is a listing by activity.
list(KEYS[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]))
return {'ok'}
