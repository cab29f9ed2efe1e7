"""Setting the table up, and checking it: for operators, and for tests. Nothing of it is loaded to serve requests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from hector.errors import StoreUnavailable
from hector.stores.base import Check
from hector.stores.dynamodb.connection import Connection
from hector.stores.dynamodb.failures import ConditionFailed, code_of
from hector.stores.dynamodb.rows import typed
from hector.stores.dynamodb.schema import DEFINITION, INDEX, STREAM, TTL

_INIT = "hector store init"
_STREAMING = {"StreamEnabled": True, "StreamViewType": STREAM}
_NOWHERE = typed({"pk": "check#hector", "sk": "nothing"})
"""A key that no row has."""


async def set_up(connection: Connection) -> None:
    """Create the table if it is not there, and turn on what one of ours lacks: its stream, its TTL.

    Raises StoreUnavailable for a table of something else, which is left as it is, and for what is on already, but in
    another way: who relies on that is not known here.
    """
    await connection.run(lambda client: _set_up(client, connection.table))


async def check(connection: Connection) -> list[Check]:
    """What is right and wrong with the table, and what these credentials may do to it. Writes nothing."""
    try:
        found = await connection.run(lambda client: _look_at(client, connection.table))
    except StoreUnavailable as error:
        found = [Check("table", False, error.message)]
        # A worker's credentials need not see the definition: what they may do is worth knowing all the same.
        if code_of(error.__cause__) != "AccessDeniedException":
            return found
    if found is None:
        missing = f"There is no table {connection.table!r} in this region and account: {_INIT} creates it."
        return [Check("table", False, missing, missing=True)]
    calls = _cheap_calls(connection.table)
    return found + [await _permission(connection, operation, parameters) for operation, parameters in calls]


def _set_up(client: Any, name: str) -> None:
    table = _described(client, name)
    if table is None:
        # In use: somebody else is creating it.
        with contextlib.suppress(client.exceptions.ResourceInUseException):
            client.create_table(TableName=name, StreamSpecification=_STREAMING, **DEFINITION)
        table = _when_ready(client, name)
    if not (_keys(table).ok and _has_index(table)):
        # Its rows may have an attribute `ttl` of their own, and must not be deleted by it.
        raise StoreUnavailable(
            f"The DynamoDB table {name!r} is not one of this product's, and was left as it is: "
            f"give session_store.table a name that is free, and {_INIT} creates it."
        )
    if not table.get("StreamSpecification", {}).get("StreamEnabled"):
        client.update_table(TableName=name, StreamSpecification=_STREAMING)
        table = _when_ready(client, name)
    expires_by = _expires_by(client, name)
    if expires_by is None:
        _turn_on_ttl(client, name)
    for found in (_index(table), _stream(table), _expiry(expires_by or TTL)):
        if not found.ok:
            raise StoreUnavailable(f"The DynamoDB table {name!r} cannot be set up as it is. {found.detail}")


def _turn_on_ttl(client: Any, name: str) -> None:
    try:
        client.update_time_to_live(TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": TTL})
    except client.exceptions.ClientError as error:
        if "already enabled" not in str(error):
            raise


def _look_at(client: Any, name: str) -> list[Check] | None:
    """What the definition shows; None if there is no such table."""
    table = _described(client, name)
    if table is None:
        return None
    status = str(table["TableStatus"])
    return [
        Check("table", status in ("ACTIVE", "UPDATING"), f"{table['TableArn']} is {status.lower()}."),
        _keys(table),
        _index(table),
        _expiry(_expires_by(client, name)),
        _stream(table),
        _backups(client, name),
    ]


def _keys(table: dict[str, Any]) -> Check:
    if _schema(table) == _schema(DEFINITION):
        return Check("keys", True, "Rows are found by pk and sk.")
    return Check(
        "keys",
        False,
        f"Rows are found by {_names(table)}, not by pk and sk: this is no table of this product. "
        f"Give session_store.table a name that is free, and {_INIT} creates it.",
    )


def _index(table: dict[str, Any]) -> Check:
    if not _has_index(table):
        return Check(
            "index",
            False,
            f"There is no index {INDEX!r} by owner_key and activity, which listings need: deploy the stack, or give "
            f"session_store.table a name that is free, and {_INIT} creates it.",
        )
    [index] = _indexes(table)
    projection = index["Projection"]["ProjectionType"]
    if projection != "KEYS_ONLY":
        return Check(
            "index",
            False,
            f"The index {INDEX!r} projects {projection}, not KEYS_ONLY: every write of a turn is billed once more. "
            "Delete the index and create it again, as the template has it.",
        )
    status = index.get("IndexStatus", "ACTIVE")
    if status not in ("ACTIVE", "UPDATING"):
        return Check("index", False, f"The index {INDEX!r} is {status.lower()}: wait until it is active.")
    return Check("index", True, f"The index {INDEX!r} lists sessions by owner_key and activity.")


def _expires_by(client: Any, name: str) -> str | None:
    """The attribute that says when a row expires; None if rows do not."""
    described = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    return described["AttributeName"] if described.get("TimeToLiveStatus") in ("ENABLED", "ENABLING") else None


def _expiry(attribute: str | None) -> Check:
    if attribute is None:
        return Check("ttl", False, f"Expired rows stay, and are paid for: {_INIT} turns the TTL on.")
    if attribute != TTL:
        return Check(
            "ttl",
            False,
            f"Rows expire by the attribute {attribute!r}, not by {TTL!r}: turn that off, and an hour later {_INIT} "
            "turns the right one on.",
        )
    return Check("ttl", True, "Expired rows are deleted.")


def _stream(table: dict[str, Any]) -> Check:
    stream = table.get("StreamSpecification", {})
    if not stream.get("StreamEnabled"):
        return Check("stream", False, f"What expired sessions leave is erased late: {_INIT} turns the stream on.")
    if stream["StreamViewType"] != STREAM:
        return Check(
            "stream",
            False,
            f"The stream tells {stream['StreamViewType']}, not {STREAM}, which its readers need: turn it off, and "
            f"{_INIT} turns it on again.",
        )
    return Check("stream", True, "The stream tells of what expires.")


def _backups(client: Any, name: str) -> Check:
    """Nothing that the store needs: what an operator may want to know."""
    try:
        described = client.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
        status = described["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"]
    except client.exceptions.ClientError as error:
        return Check("backups", True, f"Whether there are backups cannot be told ({code_of(error)}).")
    if status == "ENABLED":
        return Check("backups", True, "The table can be restored to any second of the last days.")
    return Check("backups", True, "Point-in-time recovery is off: what is deleted by mistake is gone.")


def _cheap_calls(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each operation that the store uses, on a row that does not exist. The conditions of the writes cannot be met."""
    absent = {"ConditionExpression": "attribute_exists(pk)"}
    query = {"KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": {":pk": _NOWHERE["pk"]}}
    owner = {"KeyConditionExpression": "owner_key = :owner", "ExpressionAttributeValues": {":owner": _NOWHERE["pk"]}}
    yield "GetItem", {"TableName": name, "Key": _NOWHERE}
    yield "PutItem", {"TableName": name, "Item": _NOWHERE, **absent}
    yield "UpdateItem", {"TableName": name, "Key": _NOWHERE, "UpdateExpression": "REMOVE x", **absent}
    yield "DeleteItem", {"TableName": name, "Key": _NOWHERE, **absent}
    yield "BatchGetItem", {"RequestItems": {name: {"Keys": [_NOWHERE]}}}
    yield "BatchWriteItem", {"RequestItems": {name: [{"DeleteRequest": {"Key": _NOWHERE}}]}}
    yield "Query", {"TableName": name, **query}
    yield f"Query on {INDEX}", {"TableName": name, "IndexName": INDEX, **owner}
    yield f"Scan on {INDEX}", {"TableName": name, "IndexName": INDEX, "Limit": 1}


async def _permission(connection: Connection, operation: str, parameters: dict[str, Any]) -> Check:
    name, _, where = operation.partition(" ")
    called = {"GetItem": "get_item", "PutItem": "put_item", "UpdateItem": "update_item", "DeleteItem": "delete_item"}
    called |= {"BatchGetItem": "batch_get_item", "BatchWriteItem": "batch_write_item"}
    try:
        await connection.call(called.get(name, name.lower()), **parameters)
    except ConditionFailed:
        pass
    except StoreUnavailable as error:
        return Check(f"may {operation}", False, error.message)
    return Check(f"may {operation}", True, f"These credentials may call {name}{where and ' ' + where}.")


def _described(client: Any, name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = client.describe_table(TableName=name)["Table"]
    except client.exceptions.ResourceNotFoundException:
        return None
    return _when_ready(client, name) if found["TableStatus"] == "CREATING" else found


def _when_ready(client: Any, name: str) -> dict[str, Any]:
    client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    described: dict[str, Any] = client.describe_table(TableName=name)["Table"]
    return described


def _indexes(table: dict[str, Any]) -> list[dict[str, Any]]:
    return [index for index in table.get("GlobalSecondaryIndexes", ()) if index["IndexName"] == INDEX]


def _has_index(table: dict[str, Any]) -> bool:
    [expected] = _indexes(DEFINITION)
    return [_schema(index) for index in _indexes(table)] == [_schema(expected)]


def _schema(keyed: dict[str, Any]) -> list[tuple[str, str]]:
    return [(key["AttributeName"], key["KeyType"]) for key in keyed["KeySchema"]]


def _names(table: dict[str, Any]) -> str:
    return " and ".join(name for name, _ in _schema(table))
