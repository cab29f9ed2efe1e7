"""Fixtures for every test: the real engines, each started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import dynamodb_local as dynamodb


@pytest.fixture(scope="session")
def dynamodb_local() -> Iterator[str]:
    """The endpoint URL of a DynamoDB Local that starts out empty."""
    with dynamodb.running() as url:
        yield url
