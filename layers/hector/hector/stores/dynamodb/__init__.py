"""The DynamoDB store: one table, one partition per session, conditional writes, one transaction.

    hot                     the session: lease, fence, open task, line, cancel mark, expiry; small, and all that slides
    meta                    the session's metadata, if it has any
    task#<suffix>           one turn: prompt, answer, final status
    log#<suffix>#<number>   a batch of events, from this number on
    key#<hash>              an idempotency key: the task that it stands for
    summary                 what the older turns were about
    part#<row>#<write>#<n>  a piece of what is too large for the item of a task, a batch or a summary

The sort keys of one partition. A session's own idempotency key is a row `session` in a partition `key#<hash>` that
names principal and key. An index, `activity`, lists the hot records of a principal. The transaction is that of a task
which ends before it has begun: no turn, and no listing, waits for one.
"""

from hector.stores.dynamodb.store import DynamoDBStore

__all__ = ["DynamoDBStore"]
