from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import httpx
import pytest

from hector.services import Services
from hector.stores.base import Store
from hector.stores.dynamodb import DynamoDBStore
from hector.stores.memory import MemoryStore
from tests.support import services_with, serving


@pytest.fixture(params=["memory", "dynamodb-local"])
async def any_store(request: pytest.FixtureRequest) -> Store:
    if request.param == "memory":
        return MemoryStore()
    endpoint = request.getfixturevalue("dynamodb_local")
    store = DynamoDBStore(f"web-{secrets.token_hex(4)}", endpoint_url=endpoint)
    await store.set_up()
    return store


@pytest.fixture
def services() -> Services:
    return services_with()


@pytest.fixture
async def client(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(services) as client:
        yield client


@pytest.fixture
async def on_any(any_store: Store) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API on each store."""
    async with serving(services_with(any_store)) as client:
        yield client
