"""Setting the table up, and checking it: what is missing is made or told, and what is not ours is left alone."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from copy import deepcopy
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from hector.errors import StoreUnavailable
from hector.stores.base import Check
from hector.stores.dynamodb import DynamoDBStore
from hector.stores.dynamodb.schema import DEFINITION, STREAM
from tests.contract.dynamodb.wire import Send, answered, client_of, sending

STREAMING = {"StreamEnabled": True, "StreamViewType": STREAM}
EVERYTHING = [
    "table", "keys", "index", "ttl", "stream", "backups", "may GetItem", "may PutItem", "may UpdateItem",
    "may DeleteItem", "may BatchGetItem", "may BatchWriteItem", "may Query", "may Query on activity",
    "may Scan on activity",
]  # fmt: skip


@pytest.fixture
async def store(dynamodb_local: str) -> AsyncIterator[DynamoDBStore]:
    """Its table is not there yet."""
    store = DynamoDBStore(f"operating-{secrets.token_hex(4)}", endpoint_url=dynamodb_local)
    yield store
    await store.aclose()


def name_of(store: DynamoDBStore) -> str:
    return store._connection.table


def create(store: DynamoDBStore, *, ttl: str | None = "ttl", **changes: Any) -> None:
    """A table that differs in these things from the one that the store would create."""
    definition = {**deepcopy(DEFINITION), "StreamSpecification": STREAMING, **changes}
    used = {key["AttributeName"] for key in definition["KeySchema"]}
    for index in definition.get("GlobalSecondaryIndexes") or ():
        used |= {key["AttributeName"] for key in index["KeySchema"]}
    definition["AttributeDefinitions"] = [{"AttributeName": name, "AttributeType": "S"} for name in sorted(used)]
    client_of(store).create_table(
        TableName=name_of(store), **{name: value for name, value in definition.items() if value is not None}
    )
    if ttl:
        client_of(store).update_time_to_live(
            TableName=name_of(store), TimeToLiveSpecification={"Enabled": True, "AttributeName": ttl}
        )


def described(store: DynamoDBStore) -> tuple[Any, Any]:
    client = client_of(store)
    table = client.describe_table(TableName=name_of(store))["Table"]
    ttl = client.describe_time_to_live(TableName=name_of(store))["TimeToLiveDescription"]
    return table.get("StreamSpecification"), (ttl["TimeToLiveStatus"], ttl.get("AttributeName"))


def wrong(checks: list[Check]) -> dict[str, str]:
    return {check.name: check.detail for check in checks if not check.ok}


async def test_a_table_that_was_set_up_has_all_that_is_needed(store: DynamoDBStore) -> None:
    for _ in range(2):
        await store.set_up()
        checks = await store.check()
        assert [check.name for check in checks] == EVERYTHING
        assert wrong(checks) == {}
    assert described(store) == (STREAMING, ("ENABLED", "ttl"))


async def test_several_may_set_it_up_at_once(store: DynamoDBStore, dynamodb_local: str) -> None:
    others = [DynamoDBStore(name_of(store), endpoint_url=dynamodb_local) for _ in range(3)]
    await asyncio.gather(*(one.set_up() for one in (store, *others)))
    assert wrong(await store.check()) == {}
    for other in others:
        await other.aclose()


async def test_what_an_older_table_of_ours_lacks_is_turned_on(store: DynamoDBStore) -> None:
    create(store, ttl=None, StreamSpecification=None)
    assert set(wrong(await store.check())) == {"ttl", "stream"}
    await store.set_up()
    assert described(store) == (STREAMING, ("ENABLED", "ttl"))
    assert wrong(await store.check()) == {}


OTHER_INDEX = [
    {
        "IndexName": "activity",
        "KeySchema": [{"AttributeName": "sk", "KeyType": "HASH"}, {"AttributeName": "pk", "KeyType": "RANGE"}],
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }
]
OTHER_KEYS = [{"AttributeName": "id", "KeyType": "HASH"}]
FOREIGN: dict[str, tuple[dict[str, Any], str]] = {
    "other keys": ({"KeySchema": OTHER_KEYS}, "keys"),
    "no index": ({"GlobalSecondaryIndexes": None}, "index"),
    "another index": ({"GlobalSecondaryIndexes": OTHER_INDEX}, "index"),
}


@pytest.mark.parametrize(("changes", "name"), FOREIGN.values(), ids=FOREIGN)
async def test_a_table_of_something_else_is_left_alone(
    store: DynamoDBStore, changes: dict[str, Any], name: str
) -> None:
    create(store, ttl=None, StreamSpecification=None, **changes)
    with pytest.raises(StoreUnavailable, match=r"left as it is.*session_store\.table"):
        await store.set_up()
    assert described(store) == (None, ("DISABLED", None)), "its rows must not begin to expire"
    assert "session_store.table" in wrong(await store.check())[name]


def projecting_all() -> dict[str, Any]:
    [index] = deepcopy(DEFINITION["GlobalSecondaryIndexes"])
    return {"GlobalSecondaryIndexes": [index | {"Projection": {"ProjectionType": "ALL"}}]}


@pytest.mark.parametrize(
    ("changes", "name", "says"),
    [
        (projecting_all(), "index", "KEYS_ONLY"),
        ({"ttl": "expires"}, "ttl", "'expires', not by 'ttl'"),
        ({"ttl": None}, "ttl", "hector store init"),
        ({"StreamSpecification": None}, "stream", "hector store init"),
        ({"StreamSpecification": STREAMING | {"StreamViewType": "KEYS_ONLY"}}, "stream", STREAM),
    ],
)
async def test_what_is_wrong_is_told_with_what_to_do(
    store: DynamoDBStore, changes: dict[str, Any], name: str, says: str
) -> None:
    create(store, **changes)
    found = wrong(await store.check())
    assert list(found) == [name]
    assert says in found[name]


KEYS_ONLY = STREAMING | {"StreamViewType": "KEYS_ONLY"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"StreamSpecification": KEYS_ONLY, "ttl": None}, f"KEYS_ONLY, not {STREAM}.*turn it off"),
        ({"ttl": "expires", "StreamSpecification": None}, "'expires', not by 'ttl'.*turn that off"),
        (projecting_all(), "projects ALL.*Delete the index"),
    ],
)
async def test_what_is_on_in_another_way_is_no_success_and_stays_as_it_is(
    store: DynamoDBStore, changes: dict[str, Any], says: str
) -> None:
    create(store, **changes)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=says):
            await store.set_up()
    # All else that was missing is there.
    assert described(store) == (
        changes.get("StreamSpecification") or STREAMING,
        ("ENABLED", changes.get("ttl") or "ttl"),
    )
    assert len(wrong(await store.check())) == 1


async def test_no_table(store: DynamoDBStore) -> None:
    [check] = await store.check()
    assert (check.name, check.ok, check.missing) == ("table", False, True)
    assert "hector store init" in check.detail


async def test_nobody_answers() -> None:
    store = DynamoDBStore("table", endpoint_url="http://127.0.0.1:9")
    [check] = await store.check()
    assert (check.name, check.ok) == ("table", False)
    assert "session_store.endpoint_url" in check.detail
    with pytest.raises(StoreUnavailable):
        await store.set_up()
    await store.aclose()


def refusing(operation: str, code: str = "AccessDeniedException") -> Callable[..., AWSResponse]:
    def refuse(name: str, request: AWSPreparedRequest, send: Send) -> AWSResponse:
        return answered(request, 400, code, "no") if name == operation else send(request)

    return refuse


@pytest.mark.parametrize(
    ("operation", "names"),
    [
        ("GetItem", ["may GetItem"]),
        ("PutItem", ["may PutItem"]),
        ("UpdateItem", ["may UpdateItem"]),
        ("DeleteItem", ["may DeleteItem"]),
        ("BatchGetItem", ["may BatchGetItem"]),
        ("BatchWriteItem", ["may BatchWriteItem"]),
        ("Query", ["may Query", "may Query on activity"]),
        ("Scan", ["may Scan on activity"]),
    ],
)
async def test_a_missing_permission_is_named(store: DynamoDBStore, operation: str, names: list[str]) -> None:
    await store.set_up()
    with sending(store, refusing(operation)):
        found = wrong(await store.check())
    assert list(found) == names
    assert all(f"call {operation} on" in detail for detail in found.values())


async def test_a_worker_that_may_not_see_the_definition_can_be_checked_for_the_rest(store: DynamoDBStore) -> None:
    await store.set_up()
    with sending(store, refusing("DescribeTable")):
        checks = await store.check()
    assert "dynamodb:DescribeTable" in wrong(checks)["table"]
    assert [check.name for check in checks if check.ok] == [name for name in EVERYTHING if name.startswith("may ")]


@pytest.mark.parametrize("operation", ["CreateTable", "UpdateTimeToLive"])
async def test_who_may_not_set_it_up_is_told_what_is_needed(store: DynamoDBStore, operation: str) -> None:
    with sending(store, refusing(operation)), pytest.raises(StoreUnavailable, match=f"dynamodb:{operation}"):
        await store.set_up()


async def test_checking_writes_nothing(store: DynamoDBStore) -> None:
    await store.set_up()
    await store.check()
    assert client_of(store).scan(TableName=name_of(store))["Items"] == []


async def test_backups_are_told_of_and_not_asked_for() -> None:
    from moto import mock_aws

    with mock_aws():
        store = DynamoDBStore("hector", region="eu-west-1")
        await store.set_up()
        backups = {check.name: check for check in await store.check()}["backups"]
        assert (backups.ok, "off" in backups.detail) == (True, True)
        client_of(store).update_continuous_backups(
            TableName="hector", PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
        )
        backups = {check.name: check for check in await store.check()}["backups"]
        assert (backups.ok, "restored" in backups.detail) == (True, True)
        await store.aclose()


async def test_a_name_that_no_table_can_have(dynamodb_local: str) -> None:
    store = DynamoDBStore("a table", endpoint_url=dynamodb_local)
    with pytest.raises(StoreUnavailable, match=r"session_store\.table"):
        await store.set_up()
    await store.aclose()
