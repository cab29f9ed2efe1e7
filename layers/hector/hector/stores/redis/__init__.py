"""The Redis store, for Redis 7 and Valkey: a session is a few keys in one hash slot, an atomic step is a Lua script.

    {<session>}                 a hash, the hot record: lease, fence, open task, line, expiry, metadata, summary
    {<session>}:task:<suffix>   a hash: one turn's prompt, answer, final status
    {<session>}:log:<suffix>    a stream: the task's log, an entry for each event, whose id is the event's number
    {<session>}:tasks           a sorted set: all tasks, in the order of their ids
    {<session>}:turns           a sorted set: those that ended, by the number of their turn
    {<session>}:keys            a hash: idempotency keys, and the tasks that they stand for
    {<session>}:staged          a hash, while turns of a session that is not created yet are here: their summary
    {<session>}:wake            a stream of one entry, for a minute: a task's state has changed

    owner:<hash>                a sorted set: a principal's sessions by their last activity
    key:<hash>                  a session's idempotency key, and the session that it stands for
    {all}:sessions :expiry :active    sorted sets: every session; when to look whether it has expired; who is at work

All of them after a prefix, `hector:`.

Expiry is decided by the store's clock on every call; the engine's own is the clean-up. Only the hot record's slides:
it lies a minute after the session's expiry, and is renewed by whatever moves that, so an open turn keeps it. All else
of the session has one far expiry, a day after the last that the session can have, which is set when a key is written
and never renewed; a turn that runs on for a day beyond the last expiry takes everything along. So nothing of a session
goes before its hot record, and a turn costs no more in an old session than in a new one. What a hot record leaves
behind, `clean_up` erases, which finds it through `{all}:expiry`; without that, it goes by its far expiry. The engine is
told durations, not points in time: its clock need not agree with ours.

Without a cluster, a script that starts a turn changes the listings, too. In a cluster they lie in other slots: an entry
without a session is skipped and dropped, and one that a crash has left out is put back by the session's next turn.
"""

from hector.stores.redis.store import RedisStore

__all__ = ["RedisStore"]
