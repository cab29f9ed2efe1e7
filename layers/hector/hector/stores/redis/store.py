"""The Redis store, put together."""

from __future__ import annotations

from hector.stores.base import Clock, system_clock
from hector.stores.redis.connection import Connection
from hector.stores.redis.engine import Engine
from hector.stores.redis.sessions import Sessions
from hector.stores.redis.sweeps import Sweeps
from hector.stores.redis.tasks import Tasks
from hector.stores.redis.turns import Turns
from hector.stores.redis.url import parsed


class RedisStore(Turns, Tasks, Sessions, Sweeps, Engine):
    """See `hector.stores.base.Store`, and docs/redis.md for the URL. Raises ConfigError."""

    def __init__(self, url: str, *, clock: Clock = system_clock) -> None:
        super().__init__(Connection(parsed(url)), clock)

    def open(self) -> None:
        self._connection.open()

    async def aclose(self) -> None:
        await self._connection.close()
