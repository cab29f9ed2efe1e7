"""What the table's stream tells of sessions that are gone, and what is to be done then: the rest of them is erased.

DynamoDB deletes an expired hot record by its TTL, some time within the next days; everything else of the session would
stay until a day after the session's last expiry. The event source needs to be filtered, so that nothing else wakes its
function: `EVENT_PATTERN`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from hector.stores.dynamodb.rows import plain
from hector.stores.dynamodb.store import DynamoDBStore

EVENT_PATTERN = {"eventName": ["REMOVE"], "dynamodb": {"Keys": {"sk": {"S": ["hot"]}}}}
"""Picks the records that matter here, in Lambda's filter syntax."""


class Gone(NamedTuple):
    """A session whose hot record was deleted.

    `key` is the partition of its idempotency key, if it had one; `staged` is of the turns that it began with, if any.
    """

    session_id: str
    key: str | None
    staged: str | None


def gone(event: dict[str, Any]) -> Iterator[Gone]:
    """The sessions that are gone by an event of the table's stream, whoever deleted them."""
    for record in event["Records"]:
        row = plain(record["dynamodb"]["Keys"]) | plain(record["dynamodb"].get("OldImage", {}))
        if record["eventName"] == "REMOVE" and row["sk"] == "hot":
            yield Gone(row["pk"], row.get("key"), row.get("staged"))


async def erase_gone(store: DynamoDBStore, event: dict[str, Any]) -> int:
    """Erase what these sessions left; how many there were. Repeatable: the same event again finds nothing.

    Raises StoreUnavailable: hand the event over again then.
    """
    sessions = list(gone(event))
    for session in sessions:
        await store.erase_gone(*session)
    return len(sessions)
