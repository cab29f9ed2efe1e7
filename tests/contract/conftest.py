from __future__ import annotations

import secrets
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from hector.model import Principal
from hector.stores.dynamodb import DynamoDBStore
from hector.stores.dynamodb.connection import Connection
from hector.stores.memory import MemoryStore
from hector.stores.redis import RedisStore
from hector.stores.sql import SQLStore
from hector.testing import Bench, MakeStore, ManualClock
from tests.contract.table import BACKENDS

REDIS = {"redis": "redis_url", "redis-cluster": "redis_cluster_url", "valkey": "valkey_url"}


@pytest.fixture(params=BACKENDS)
def make_store(request: pytest.FixtureRequest) -> Iterator[MakeStore]:
    """Makes stores that share what is stored."""
    match request.param:
        case "memory":
            stores: list[MemoryStore] = []

            def shared(clock: ManualClock) -> MemoryStore:
                stores[:] = stores or [MemoryStore(clock)]
                return stores[0]

            yield shared
        case "dynamodb-mock":
            from moto import mock_aws

            request.getfixturevalue("one_call_at_a_time")
            with mock_aws():
                yield lambda clock: DynamoDBStore("contract", region="eu-west-1", clock=clock)
        case "dynamodb-local":
            yield _on(request.getfixturevalue("dynamodb_local"))
        case "sqlite" | "postgresql":
            url = request.getfixturevalue(f"{request.param}_url")
            yield lambda clock: SQLStore(url, clock=clock)
        case backend:
            redis = request.getfixturevalue(REDIS[backend])
            yield lambda clock: RedisStore(redis, clock=clock)


@pytest.fixture
def one_call_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two conditional writes at once may both succeed on moto, which is no engine."""
    lock, run = threading.Lock(), Connection._run

    def locked(connection: Connection, function: Callable[[Any], Any]) -> Any:
        with lock:
            return run(connection, function)

    monkeypatch.setattr(Connection, "_run", locked)


@pytest.fixture
async def dynamodb(dynamodb_local: str) -> AsyncIterator[Bench]:
    """The same on the real engine, for what only that one can prove."""
    principal = Principal(f"subject-{secrets.token_hex(8)}", "tenant")
    async with Bench(_on(dynamodb_local), ManualClock(), principal) as ready:
        yield ready


def _on(endpoint_url: str) -> MakeStore:
    return lambda clock: DynamoDBStore("contract", endpoint_url=endpoint_url, clock=clock)
