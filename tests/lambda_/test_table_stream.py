"""functions/table_stream: what it does with the table's stream, and where it refuses to start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hector.errors import ConfigError
from hector.events import loop
from hector.events.table_stream import table_stream_handler
from hector.model import Principal
from hector.stores.dynamodb import DynamoDBStore
from hector.testing import Bench, ManualClock
from tests.support import services_with

EVENT = json.loads((Path(__file__).parents[2] / "events" / "table_stream.json").read_text())


def test_what_a_gone_session_left_is_erased(dynamodb_local: str) -> None:
    def store() -> DynamoDBStore:
        return DynamoDBStore("table-stream", endpoint_url=dynamodb_local)

    async def rows(session_id: str) -> list[Any]:
        async with Bench(lambda _: store(), ManualClock(), Principal("anybody")) as bench:
            assert isinstance(bench.store, DynamoDBStore)
            return [row async for rows in bench.store._table.versions(session_id) for row in rows]

    async def left_behind() -> str:
        """A session of which DynamoDB has deleted the hot record, as its TTL does."""
        async with Bench(lambda _: store(), ManualClock(), Principal("anybody")) as bench:
            assert isinstance(bench.store, DynamoDBStore)
            session = await bench.session()
            await bench.turn(session)
            await bench.store._table.delete_many([(session.id, "hot")])
            return session.id

    session_id = loop.run(left_behind())
    assert loop.run(rows(session_id))
    record = EVENT["Records"][0]
    keys = {"pk": {"S": session_id}, "sk": {"S": "hot"}}
    images = record["dynamodb"] | {"Keys": keys, "OldImage": record["dynamodb"]["OldImage"] | keys}
    handler = table_stream_handler(services_with(store()))
    for _ in range(2):  # a batch may come twice
        handler({"Records": [record | {"dynamodb": images}]}, None)
        assert loop.run(rows(session_id)) == []


def test_another_store_has_no_table_stream() -> None:
    with pytest.raises(ConfigError, match="HECTOR_STORE=dynamodb://"):
        table_stream_handler(services_with())
