"""A server, an empty folder to run in, and a table that several processes share."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from hector.stores.dynamodb import DynamoDBStore
from tests.processes import HectorServer, hector_server


@pytest.fixture(scope="module")
def server() -> Iterator[HectorServer]:
    with hector_server() as running:
        yield running


@pytest.fixture(params=["in process", "with a server"])
def where(request: pytest.FixtureRequest) -> list[str]:
    """The options that say where the agent is."""
    return [] if request.param == "in process" else ["--server", request.getfixturevalue("server").url]


@pytest.fixture(scope="module")
def shared_store(dynamodb_local: str) -> str:
    """The URL of a table."""

    async def create() -> None:
        store = DynamoDBStore("commands", endpoint_url=dynamodb_local)
        await store.set_up()
        await store.aclose()

    asyncio.run(create())
    return f"dynamodb://commands?endpoint_url={dynamodb_local}"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
