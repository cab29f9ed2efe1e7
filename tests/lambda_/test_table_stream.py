"""functions/table_stream: what it does with the table's stream, and where it refuses to start."""

from __future__ import annotations

import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from hector.errors import ConfigError, StoreUnavailable
from hector.events.table_stream import table_stream_handler
from hector.model import Principal
from hector.stores.dynamodb import DynamoDBStore
from hector.testing import Bench, ManualClock
from response_streaming.loop import async_handler, process_loop
from tests.support import services_with

T = TypeVar("T")
EVENT = json.loads((Path(__file__).parents[2] / "events" / "table_stream.json").read_text())


def run(work: Coroutine[Any, Any, T]) -> T:
    """Between two invocations."""
    return process_loop().run_until_complete(work)


@pytest.fixture
def store(dynamodb_local: str) -> DynamoDBStore:
    return DynamoDBStore("table-stream", endpoint_url=dynamodb_local)


async def rows(store: DynamoDBStore, session_id: str) -> list[Any]:
    return [row async for rows in store._table.versions(session_id) for row in rows]


async def left_behind(url: str) -> str:
    """A session of which DynamoDB has deleted the hot record, as its TTL does."""
    own = DynamoDBStore("table-stream", endpoint_url=url)
    async with Bench(lambda _: own, ManualClock(), Principal("anybody")) as bench:
        session = await bench.session()
        await bench.turn(session)
        await own._table.delete_many([(session.id, "hot")])
        return session.id


def removed(session_id: str, number: str = "1") -> dict[str, Any]:
    """The record of it."""
    record: dict[str, Any] = EVENT["Records"][0]
    keys = {"pk": {"S": session_id}, "sk": {"S": "hot"}}
    images = record["dynamodb"] | {"Keys": keys, "OldImage": record["dynamodb"]["OldImage"] | keys}
    return record | {"dynamodb": images | {"SequenceNumber": number}}


def test_what_a_gone_session_left_is_erased(store: DynamoDBStore, dynamodb_local: str) -> None:
    session_id = run(left_behind(dynamodb_local))
    assert run(rows(store, session_id))
    handler = async_handler(table_stream_handler(services_with(store)))
    for _ in range(2):  # a batch may come twice
        assert handler({"Records": [removed(session_id)]}, None) == {"batchItemFailures": []}
        assert run(rows(store, session_id)) == []


@pytest.mark.parametrize("error", [StoreUnavailable("throttled"), KeyError("key")], ids=["store", "record"])
def test_a_record_that_fails_comes_again_and_keeps_no_other_waiting(
    store: DynamoDBStore, dynamodb_local: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = run(left_behind(dynamodb_local)), run(left_behind(dynamodb_local))
    erase = store.erase_gone

    async def erase_gone(session_id: str, *named: str | None) -> None:
        if session_id == bad:
            raise error
        await erase(session_id, *named)

    monkeypatch.setattr(store, "erase_gone", erase_gone)
    handler = async_handler(table_stream_handler(services_with(store)))
    answer = handler({"Records": [removed(bad, "7"), removed(good, "8")]}, None)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "7"}]}
    assert run(rows(store, bad))
    assert run(rows(store, good)) == []


def test_another_store_has_no_table_stream() -> None:
    with pytest.raises(ConfigError, match="HECTOR_STORE=dynamodb://"):
        table_stream_handler(services_with())
