from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from hector.model import Principal
from hector.stores.dynamodb import DynamoDBStore
from hector.stores.memory import MemoryStore
from hector.testing import Bench, MakeStore, ManualClock

BACKENDS = ["memory", "dynamodb-mock", "dynamodb-local"]


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

            with mock_aws():
                yield lambda clock: DynamoDBStore("contract", region="eu-west-1", clock=clock)
        case "dynamodb-local":
            yield _on(request.getfixturevalue("dynamodb_local"))


@pytest.fixture
async def dynamodb(dynamodb_local: str) -> AsyncIterator[Bench]:
    """The same on the real engine, for what only that one can prove."""
    principal = Principal(f"subject-{secrets.token_hex(8)}", "tenant")
    async with Bench(_on(dynamodb_local), ManualClock(), principal) as ready:
        yield ready


def _on(endpoint_url: str) -> MakeStore:
    return lambda clock: DynamoDBStore("contract", endpoint_url=endpoint_url, clock=clock)
