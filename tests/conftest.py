"""Fixtures for every test: the real engines, each started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import dynamodb_local as dynamodb
from tests import postgres_server as postgres


@pytest.fixture(scope="session")
def dynamodb_local() -> Iterator[str]:
    """The endpoint URL of a DynamoDB Local that starts out empty."""
    with dynamodb.running() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.PostgresServer]:
    """A PostgreSQL with an empty database; who stops it starts it again."""
    with postgres.running() as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_url(postgres_server: postgres.PostgresServer) -> str:
    return postgres_server.url


@pytest.fixture(scope="session")
def sqlite_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a file that is not there yet."""
    return f"sqlite:///{tmp_path_factory.mktemp('sqlite') / 'hector.db'}"
