from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hector.model import Principal
from hector.stores.sql import SQLStore
from hector.testing import Bench, ManualClock
from tests.postgres_server import PostgresServer


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a database without any tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'hector.db'}"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.create_database(f"test-{secrets.token_hex(6)}")


@pytest.fixture
async def bench(empty_url: str) -> AsyncIterator[Bench]:
    async with Bench(lambda clock: SQLStore(empty_url, clock=clock), ManualClock(), Principal("s", "t")) as ready:
        yield ready
