from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from hector.stores.base import Store
from hector.stores.dynamodb import DynamoDBStore
from hector.stores.memory import MemoryStore


@pytest.fixture(params=["memory", "dynamodb"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """Each store that a turn may run on, on its real engine."""
    if request.param == "memory":
        yield MemoryStore()
        return
    dynamodb = DynamoDBStore("service", endpoint_url=request.getfixturevalue("dynamodb_local"))
    await dynamodb.set_up()
    yield dynamodb
    await dynamodb.aclose()
