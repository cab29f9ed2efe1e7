from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hector.model import Principal
from hector.stores.redis import RedisStore, scripts
from hector.testing import Bench, ManualClock
from tests.contract.redis.engine import Engine
from tests.contract.redis.wire import Proxy, proxied


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Bench]:
    """A store in a namespace of its own."""
    prefix = f"test-{secrets.token_hex(4)}"
    async with _bench(f"{redis_url}?prefix={prefix}") as ready:
        yield ready


@pytest.fixture(params=["redis_url", "redis_cluster_url"])
async def everywhere(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """The same, without a cluster and in one."""
    url = request.getfixturevalue(request.param)
    prefix = f"{'&' if '?' in url else '?'}prefix=test-{secrets.token_hex(4)}"
    async with _bench(url + prefix) as ready:
        yield ready


@pytest.fixture
async def engine(redis: Bench) -> AsyncIterator[Engine]:
    """What the engine itself holds of `redis`."""
    async with Engine.of(redis.store) as ready:
        yield ready


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[Proxy]:
    async with proxied(redis_url) as ready:
        yield ready


@pytest.fixture
async def faulty(proxy: Proxy) -> AsyncIterator[Bench]:
    """A store behind `proxy`, whose faults are not armed yet. The engine knows every script: the first call counts."""
    async with _bench(f"{proxy.url}?prefix=test-{secrets.token_hex(4)}") as ready:
        for file in scripts.FOLDER.glob("*.lua"):
            if file.stem != "common":
                await ready.store._connection.call("SCRIPT LOAD", scripts.script(file.stem).text)
        yield ready


def _bench(url: str) -> Any:
    principal = Principal(f"subject-{secrets.token_hex(8)}", "tenant")
    return Bench(lambda clock: RedisStore(url, clock=clock), ManualClock(), principal)
