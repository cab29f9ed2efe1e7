"""Counts write units by AWS's own rules, from the items before and after each write.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html: an item's size is that
of its attribute names and values; a write is billed by the started kilobyte, an update by the larger of before and
after. https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.html: a changed index key is two writes to
the index, a delete and a put; an index entry that stays as it was is none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hector.stores.base import Store
from tests.contract.dynamodb.wire import client_of

Item = dict[str, dict[str, Any]]
INDEX_ENTRY = ("owner_key", "activity", "pk", "sk")


@dataclass(frozen=True)
class Write:
    """`counted` by the rules; `reported` by the engine."""

    operation: str
    sort_key: str
    counted: int
    reported: float
    size: int


def size_of(item: Item) -> int:
    return sum(len(name.encode()) + _size(value) for name, value in item.items())


def _size(value: dict[str, Any]) -> int:
    [(kind, content)] = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "N":
            return math.ceil(len(content.strip("-").strip("0")) / 2) + 1
        case "BOOL":
            return 1
        case "L":
            return 3 + sum(1 + _size(entry) for entry in content)
    raise NotImplementedError(kind)


def kilobytes(size: int) -> int:
    return max(1, math.ceil(size / 1024))


def units(before: Item, after: Item) -> int:
    return kilobytes(max(size_of(before), size_of(after))) + _index_units(_entry(before), _entry(after))


def _entry(item: Item) -> Item:
    return {name: item[name] for name in INDEX_ENTRY} if "activity" in item else {}


def _index_units(before: Item, after: Item) -> int:
    if before == after:
        return 0
    return sum(kilobytes(size_of(entry)) for entry in (before, after) if entry)


@contextmanager
def recorded(store: Store) -> Iterator[list[Write]]:
    """The writes of a store while this is open. Nothing else may write to the same items meanwhile."""
    client, writes = client_of(store), []
    call = client._make_api_call

    def batch(parameters: dict[str, Any]) -> Any:
        """Puts of new items, as one write: the engine reports their sum."""
        [requests] = parameters["RequestItems"].values()
        answer = call("BatchWriteItem", parameters | {"ReturnConsumedCapacity": "TOTAL"})
        items = [request["PutRequest"]["Item"] for request in requests]
        counted = sum(units({}, item) for item in items)
        reported = sum(consumed["CapacityUnits"] for consumed in answer["ConsumedCapacity"])
        writes.append(Write("BatchWriteItem", items[0]["sk"]["S"], counted, reported, sum(map(size_of, items))))
        return answer

    def watched(operation: str, parameters: dict[str, Any]) -> Any:
        if operation == "BatchWriteItem":
            return batch(parameters)
        if operation not in ("PutItem", "UpdateItem", "DeleteItem"):
            assert operation in ("GetItem", "Query", "BatchGetItem"), operation
            return call(operation, parameters)
        source = parameters.get("Key") or parameters["Item"]
        wanted = {
            "TableName": parameters["TableName"],
            "Key": {name: source[name] for name in ("pk", "sk")},
            "ConsistentRead": True,
        }
        before = call("GetItem", wanted).get("Item", {})
        answer = call(operation, parameters | {"ReturnConsumedCapacity": "INDEXES"})
        after = call("GetItem", wanted).get("Item", {})
        writes.append(
            Write(
                operation,
                wanted["Key"]["sk"]["S"],
                units(before, after),
                answer["ConsumedCapacity"]["CapacityUnits"],
                size_of(after),
            )
        )
        return answer

    client._make_api_call = watched
    try:
        yield writes
    finally:
        del client._make_api_call
