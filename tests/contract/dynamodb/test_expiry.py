"""What expired sessions leave, erased by the records of the table's stream, as the engine wrote them."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.session import Session as BotoSession

from hector.model import Principal, Session
from hector.stores.base import Idempotency
from hector.stores.dynamodb import DynamoDBStore
from hector.stores.dynamodb.expiry import EVENT_PATTERN, erase_gone, gone
from hector.stores.dynamodb.rows import plain
from hector.testing import Bench, ManualClock
from hector.testing.bench import LEASE, TTL, nonce, pieces
from hector.testing.contract.session_keys import new

SAMPLE = Path(__file__).parents[3] / "events" / "table_stream.json"


@pytest.fixture
async def bench(dynamodb_local: str) -> AsyncIterator[Bench]:
    """On a table of its own, whose stream holds nothing else."""
    table = f"stream-{secrets.token_hex(4)}"

    def make(clock: ManualClock) -> DynamoDBStore:
        return DynamoDBStore(table, endpoint_url=dynamodb_local, clock=clock)

    async with Bench(make, ManualClock(), Principal("subject")) as ready:
        yield ready


def client_of(store: Any) -> Any:
    return store._connection.open()


def stream_of(bench: Bench) -> list[dict[str, Any]]:
    """Every record of the table's stream so far, as Lambda hands them over."""
    client = client_of(bench.store)
    streams: Any = BotoSession().create_client(
        "dynamodbstreams",
        region_name=client.meta.region_name,
        endpoint_url=client.meta.endpoint_url,
        aws_access_key_id=client._request_signer._credentials.access_key,
        aws_secret_access_key="local",
    )
    arn = client.describe_table(TableName=bench.store._connection.table)["Table"]["LatestStreamArn"]  # type: ignore[attr-defined]
    records: list[dict[str, Any]] = []
    for shard in streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
        records += _records(streams, arn, shard["ShardId"])
    return json.loads(json.dumps(records, default=lambda at: at.timestamp()))  # type: ignore[no-any-return]


def _records(streams: Any, arn: str, shard: str) -> Iterator[dict[str, Any]]:
    iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    iterator = iterator["ShardIterator"]
    while iterator:
        answer = streams.get_records(ShardIterator=iterator)
        yield from answer["Records"]
        iterator = answer.get("NextShardIterator") if answer["Records"] else None


def picked(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Those that the filter of the event source lets through."""
    [sort_key] = EVENT_PATTERN["dynamodb"]["Keys"]["sk"]["S"]  # type: ignore[index]
    return {
        "Records": [
            record
            for record in records
            if [record["eventName"]] == EVENT_PATTERN["eventName"] and record["dynamodb"]["Keys"]["sk"]["S"] == sort_key
        ]
    }


def rows_in(bench: Bench) -> set[tuple[str, str]]:
    items = client_of(bench.store).scan(TableName=bench.store._connection.table, ConsistentRead=True)["Items"]  # type: ignore[attr-defined]
    return {(row["pk"], row["sk"]) for row in map(plain, items)}


def deleted_by_ttl(bench: Bench, session: Session) -> None:
    """As DynamoDB does, which no emulator can be waited for to do."""
    client_of(bench.store).delete_item(
        TableName=bench.store._connection.table,  # type: ignore[attr-defined]
        Key={"pk": {"S": session.id}, "sk": {"S": "hot"}},
    )


async def used(bench: Bench, key: str) -> Session:
    session = await bench.store.create_session(new(bench), idempotency=Idempotency(key, "fingerprint"))
    await bench.store.submit(bench.task(session, "x" * 500_000), nonce=nonce(), idempotency=Idempotency("k", "f"))
    lease = await bench.claimed(session)
    await bench.store.append_events(lease, pieces(1, 300), extend=LEASE)
    await bench.ended(lease)
    return session


async def test_what_an_expired_session_left_is_erased(bench: Bench) -> None:
    expired, alive = await used(bench, "one"), await used(bench, "other")
    both = rows_in(bench)
    bench.clock.advance(seconds=TTL / 1000)
    deleted_by_ttl(bench, expired)
    event = picked(stream_of(bench))
    assert [left.session_id for left in gone(event)] == [expired.id]
    assert isinstance(bench.store, DynamoDBStore)
    assert await erase_gone(bench.store, event) == 1
    left = rows_in(bench)
    assert {pk for pk, _ in both - left} == {expired.id, *(left.key for left in gone(event))}
    assert {sk.partition("#")[0] for pk, sk in left if pk == alive.id} == {"hot", "meta", "task", "log", "part", "key"}
    assert len(left) == len(both) / 2
    await erase_gone(bench.store, event)
    assert rows_in(bench) == left, "the same event again changes nothing"


async def test_what_a_crash_in_the_middle_of_a_delete_left_is_erased(bench: Bench) -> None:
    session = await used(bench, "one")
    deleted_by_ttl(bench, session)
    assert isinstance(bench.store, DynamoDBStore)
    await erase_gone(bench.store, picked(stream_of(bench)))
    assert rows_in(bench) == set()


async def test_nothing_is_erased_of_a_session_that_is_there_again(bench: Bench) -> None:
    session = await used(bench, "one")
    deleted_by_ttl(bench, session)
    event = picked(stream_of(bench))
    await bench.store.create_session(session)
    before = rows_in(bench)
    assert isinstance(bench.store, DynamoDBStore)
    await erase_gone(bench.store, event)
    assert rows_in(bench) == before


async def test_renewals_and_turns_wake_nobody(bench: Bench) -> None:
    await used(bench, "one")
    records = stream_of(bench)
    assert len(records) > 5
    assert picked(records) == {"Records": []}
    assert list(gone({"Records": records})) == []


async def test_the_sample_event_is_what_the_engine_writes(bench: Bench) -> None:
    sample = json.loads(SAMPLE.read_text())
    [left] = gone(sample)
    assert picked(sample["Records"]) == sample
    session = await used(bench, "one")
    deleted_by_ttl(bench, session)
    [record] = picked(stream_of(bench))["Records"]
    [expected] = sample["Records"]
    by_ttl = {"userIdentity", "eventSourceARN"}
    assert expected.keys() - by_ttl == record.keys() - by_ttl
    assert expected["dynamodb"].keys() == record["dynamodb"].keys()
    assert expected["dynamodb"]["OldImage"].keys() == record["dynamodb"]["OldImage"].keys()
    assert (left.session_id, left.key) == (
        expected["dynamodb"]["Keys"]["pk"]["S"],
        expected["dynamodb"]["OldImage"]["key"]["S"],
    )
