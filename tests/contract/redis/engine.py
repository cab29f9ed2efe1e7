"""A look past the store, at the keys that an engine holds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis

from hector.model import Millis
from hector.stores.base import Store


class Engine:
    def __init__(self, client: Any, prefix: str) -> None:
        self.client = client
        self.prefix = prefix

    @staticmethod
    @asynccontextmanager
    async def of(store: Store) -> AsyncIterator[Engine]:
        place = store._connection.place  # type: ignore[attr-defined]
        client: Any = Redis(**place.client, decode_responses=True, protocol=2)
        try:
            yield Engine(client, place.prefix)
        finally:
            await client.aclose()

    def hot(self, session_id: str) -> str:
        return f"{self.prefix}:{{{session_id}}}"

    async def keys(self, session_id: str | None = None) -> list[str]:
        """Of one session, or all in the store's namespace."""
        pattern = f"{self.prefix}:*" if session_id is None else f"{self.prefix}:{{{session_id}}}*"
        return sorted([key async for key in self.client.scan_iter(pattern, count=1000)])

    async def left(self, key: str) -> Millis:
        """For how long the key will be there."""
        left: Millis = await self.client.pttl(key)
        assert left > 0, f"{key} has no expiry"
        return left
