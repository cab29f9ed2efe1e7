from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from hector.stores.base import Store
from hector.stores.dynamodb import DynamoDBStore
from hector.stores.memory import MemoryStore
from hector.stores.redis import RedisStore
from hector.stores.sql import SQLStore


@pytest.fixture(params=["memory", "dynamodb", "redis", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """Each store that a turn may run on, on its real engine."""
    match request.param:
        case "memory":
            made: Store = MemoryStore()
        case "dynamodb":
            made = DynamoDBStore("service", endpoint_url=request.getfixturevalue("dynamodb_local"))
        case "redis":
            made = RedisStore(request.getfixturevalue("redis_url"))
        case _:
            made = SQLStore(request.getfixturevalue(f"{request.param}_url"))
    await made.set_up()
    yield made
    await made.aclose()
