"""The few operations on the table that the store is made of.

All reads but the index's are consistent, all pages are followed, and what DynamoDB leaves unprocessed is asked again.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from hector.stores.dynamodb.connection import Connection
from hector.stores.dynamodb.failures import ConditionFailed, busy
from hector.stores.dynamodb.patience import Patience
from hector.stores.dynamodb.rows import Key, Row, plain, typed
from hector.stores.dynamodb.schema import INDEX

T = TypeVar("T")
Value = str | int | list[str]

# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html and API_BatchWriteItem.html
_GETS_AT_ONCE = 100
_WRITES_AT_ONCE = 25
_BYTES_AT_ONCE = 4_000_000
"""A quarter of what AWS takes, for the client may escape a text to three times its size."""
_WRITERS = 4
"""Writes, or batches of them, on their way at the same time."""
_VERSION = ("staged", "nonce")
"""Attributes that differ between a row and one that takes its place."""


class Update(NamedTuple):
    """One of the writes of a transaction."""

    key: Key
    expression: str
    condition: str
    values: dict[str, Value]


class Table:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._name = connection.table

    async def get(self, key: Key) -> Row | None:
        answer = await self._call("get_item", Key=_key(key), ConsistentRead=True)
        return plain(answer["Item"]) if "Item" in answer else None

    async def get_many(self, keys: Iterable[Key]) -> dict[Key, Row]:
        """The rows that there are."""
        found: dict[Key, Row] = {}
        wanted = [_key(key) for key in keys]
        patience = Patience()
        while wanted:
            now, wanted = wanted[:_GETS_AT_ONCE], wanted[_GETS_AT_ONCE:]
            answer = await self._connection.call(
                "batch_get_item", RequestItems={self._name: {"Keys": now, "ConsistentRead": True}}
            )
            for row in map(plain, answer["Responses"].get(self._name, [])):
                found[row["pk"], row["sk"]] = row
            # Some are always left beyond 16 MB.
            left = answer.get("UnprocessedKeys", {}).get(self._name, {}).get("Keys", [])
            wanted += left
            if len(left) < len(now):
                patience = Patience()
            elif not await patience.wait():
                raise busy(self._name)
        return found

    async def put(self, row: Row, *, condition: str, **values: Value) -> None:
        """Raises ConditionFailed."""
        await self._call("put_item", Item=typed(row), **_condition(condition, values))

    async def update(self, key: Key, expression: str, *, condition: str, **values: Value) -> Row:
        """The row afterwards. `#name` stands for the attribute of that name. Raises ConditionFailed."""
        answer = await self._call(
            "update_item",
            Key=_key(key),
            UpdateExpression=expression,
            ReturnValues="ALL_NEW",
            **_condition(condition, values, expression),
        )
        return plain(answer["Attributes"])

    async def update_all(self, *updates: Update) -> None:
        """All of them, or none. Raises ConditionFailed for the first whose condition was not met."""
        await self._connection.call(
            "transact_write_items",
            TransactItems=[
                {
                    "Update": {
                        "TableName": self._name,
                        "Key": _key(update.key),
                        "UpdateExpression": update.expression,
                        **_condition(update.condition, update.values, update.expression),
                    }
                }
                for update in updates
            ],
            ClientRequestToken=secrets.token_hex(16),
        )

    async def delete(self, key: Key, *, condition: str, **values: Value) -> None:
        """Raises ConditionFailed."""
        await self._call("delete_item", Key=_key(key), **_condition(condition, values))

    async def put_many(self, rows: Iterable[Row]) -> None:
        """Without conditions: what is there already is written over."""
        await self._write_many({"PutRequest": {"Item": typed(row)}} for row in rows)

    async def delete_many(self, keys: Iterable[Key]) -> None:
        await self._write_many({"DeleteRequest": {"Key": _key(key)}} for key in keys)

    async def delete_unchanged(self, rows: Iterable[Row]) -> None:
        """Those that are as `versions` gave them, one by one: the writes of a batch have no conditions."""

        async def delete(row: Row) -> None:
            same = [f"{name} = :{name}" if name in row else f"attribute_not_exists({name})" for name in _VERSION]
            with contextlib.suppress(ConditionFailed):
                await self.delete(
                    (row["pk"], row["sk"]),
                    condition=" AND ".join(same),
                    **{name: row[name] for name in _VERSION if name in row},
                )

        await _each(rows, delete)

    async def _write_many(self, wanted: Iterable[Any]) -> None:
        await _each(_batches(wanted), self._write)

    async def _write(self, batch: list[Any]) -> None:
        patience = Patience()
        while batch:
            answer = await self._connection.call("batch_write_item", RequestItems={self._name: batch})
            left = answer.get("UnprocessedItems", {}).get(self._name, [])
            if len(left) < len(batch):
                patience = Patience()
            elif not await patience.wait():
                raise busy(self._name)
            batch = left

    async def query(
        self, session_id: str, *, first: str, last: str, newest_first: bool = False, page: int = 0
    ) -> AsyncIterator[list[Row]]:
        """The rows of a session between two sort keys, page by page, each of at most `page` rows if that is given."""
        async for rows in self._pages(
            page,
            KeyConditionExpression="pk = :pk AND sk BETWEEN :first AND :last",
            ExpressionAttributeValues=typed({":pk": session_id, ":first": first, ":last": last}),
            ScanIndexForward=not newest_first,
            ConsistentRead=True,
        ):
            yield rows

    async def versions(self, session_id: str) -> AsyncIterator[list[Row]]:
        """The keys of all rows of a session, with what tells a row from one that takes its place, page by page."""
        async for rows in self._pages(
            0,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues=typed({":pk": session_id}),
            ProjectionExpression=", ".join(("pk", "sk", *_VERSION)),
            ConsistentRead=True,
        ):
            yield rows

    async def query_activity(self, owner_key: str, *, before: str, page: int) -> AsyncIterator[list[Row]]:
        """The keys of a principal's hot records whose `activity` comes before, newest first, page by page."""
        async for rows in self._pages(
            page,
            IndexName=INDEX,
            KeyConditionExpression="owner_key = :owner AND activity < :before",
            ExpressionAttributeValues=typed({":owner": owner_key, ":before": before}),
            ScanIndexForward=False,
        ):
            yield rows

    async def scan_activity(self, *, after: Row | None, since: str = "", page: int = 0) -> tuple[list[Row], Row | None]:
        """One page of the keys of everybody's hot records, of those with this activity or later; and where it ended."""
        parameters: dict[str, Any] = {"Limit": page} if page else {}
        if after:
            parameters["ExclusiveStartKey"] = typed(after)
        if since:
            parameters["FilterExpression"] = "activity >= :since"
            parameters["ExpressionAttributeValues"] = typed({":since": since})
        answer = await self._call("scan", IndexName=INDEX, **parameters)
        end = answer.get("LastEvaluatedKey")
        return [plain(item) for item in answer["Items"]], plain(end) if end else None

    async def _pages(self, limit: int, **parameters: Any) -> AsyncIterator[list[Row]]:
        if limit:
            parameters["Limit"] = limit
        while True:
            answer = await self._call("query", **parameters)
            yield [plain(item) for item in answer["Items"]]
            if "LastEvaluatedKey" not in answer:
                return
            parameters["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    async def _call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        return await self._connection.call(operation, TableName=self._name, **parameters)


async def _each(wanted: Iterable[T], write: Callable[[T], Awaitable[None]]) -> None:
    """Write all of them, some at the same time; what fails is raised when the others are done."""
    left = deque(wanted)

    async def work() -> None:
        while left:
            await write(left.popleft())

    done = await asyncio.gather(*(work() for _ in range(min(_WRITERS, len(left)))), return_exceptions=True)
    for failure in done:
        if failure is not None:
            raise failure


def _batches(requests: Iterable[Any]) -> Iterable[list[Any]]:
    batch: list[Any] = []
    size = 0
    for request in requests:
        item = request.get("PutRequest", {}).get("Item", {})
        bytes_ = sum(len(value["S"].encode()) for value in item.values() if "S" in value)
        if batch and (len(batch) == _WRITES_AT_ONCE or size + bytes_ > _BYTES_AT_ONCE):
            yield batch
            batch, size = [], 0
        batch.append(request)
        size += bytes_
    if batch:
        yield batch


def _key(key: Key) -> dict[str, Any]:
    return typed({"pk": key[0], "sk": key[1]})


def _condition(condition: str, values: dict[str, Value], expression: str = "") -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "ConditionExpression": condition,
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    names: Sequence[str] = re.findall(r"#(\w+)", expression)
    if names:
        parameters["ExpressionAttributeNames"] = {f"#{name}": name for name in names}
    if values:
        parameters["ExpressionAttributeValues"] = typed({f":{name}": value for name, value in values.items()})
    return parameters
