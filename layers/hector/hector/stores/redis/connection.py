"""The connection to Redis: redis-py's clients, opened late; scripts; patience with an engine that is away for a moment.

redis is imported when the first call is made (or by `open`), not before. Its own retries are off: here, one loop knows
what may pass, and sends again.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from hector.concurrency import jitter
from hector.stores.redis.driver import truthful
from hector.stores.redis.failures import driver_missing, passes, translated
from hector.stores.redis.items import Reply
from hector.stores.redis.scripts import script
from hector.stores.redis.url import Place

T = TypeVar("T")
Command = Sequence[str | int]

CONNECT_TIMEOUT_SECONDS = 2.0
READ_TIMEOUT_SECONDS = 3.0
PATIENCE_SECONDS = 6.0
"""For so long a call that fails is sent again: a restart of the engine fits in."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 0.8
CALLS = 64
"""Calls at once; more of them queue up here."""
WAITERS = 64
"""Readers that block at once, each on a connection of its own; more of them poll."""
POLL_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 10.0


class Connection:
    """One for the calls, and one for those that block. Raises ConfigError when the driver is missing."""

    def __init__(self, place: Place) -> None:
        if importlib.util.find_spec("redis") is None:
            raise driver_missing()
        self.place = place
        self._client: Any = None
        self._blocking: Any = None
        self._calls = asyncio.Semaphore(CALLS)
        self._looking = asyncio.Lock()
        self._waiting = 0

    def open(self) -> Any:
        """The client. It connects with its first call."""
        if self._client is None:
            self._client = self._create(READ_TIMEOUT_SECONDS)
        return self._client

    async def run(self, name: str, keys: Sequence[str], *args: str | int) -> Reply:
        """Run a script. Raises StoreUnavailable."""
        text, sha = script(name)

        async def attempt(client: Any) -> Reply:
            from redis.exceptions import NoScriptError

            try:
                answer: Reply = await client.execute_command("EVALSHA", sha, len(keys), *keys, *args)
            except NoScriptError:
                answer = await client.execute_command("EVAL", text, len(keys), *keys, *args)
            return answer

        return await self._patiently(attempt)

    async def call(self, *command: str | int, **options: Any) -> Any:
        """Raises StoreUnavailable."""
        return await self._patiently(lambda client: client.execute_command(*command, **options))

    async def calls(self, commands: Sequence[Command]) -> list[Any]:
        """Several at once, wherever their keys are; not as one step. Raises StoreUnavailable."""

        async def attempt(client: Any) -> list[Any]:
            pipeline = client.pipeline(transaction=False) if not self.place.cluster else client.pipeline()
            for command in commands:
                pipeline.execute_command(*command)
            answers: list[Any] = await pipeline.execute()
            return answers

        return await self._patiently(attempt) if commands else []

    async def wait_for(self, streams: dict[str, str], seconds: float) -> None:
        """Return when one of these streams has an entry after the id given with it, or when the time is over."""
        if self._waiting >= WAITERS:
            await asyncio.sleep(min(seconds, POLL_SECONDS))
            return
        self._waiting += 1
        try:
            await self._block(streams, min(seconds, LONGEST_WAIT_SECONDS))
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        for client in (self._client, self._blocking):
            if client is not None:
                await client.aclose()

    async def _block(self, streams: dict[str, str], seconds: float) -> None:
        """Whatever goes wrong while nothing was to be read, the reader finds out by looking."""
        from redis.exceptions import RedisClusterException, RedisError

        if self._blocking is None:
            self._blocking = self._create(LONGEST_WAIT_SECONDS + READ_TIMEOUT_SECONDS)
        try:
            with truthful():
                client = await self._ready(self._blocking)
                await client.xread(streams, count=1, block=max(1, round(seconds * 1000)))
        except (RedisError, RedisClusterException, OSError):
            await asyncio.sleep(min(seconds, POLL_SECONDS))

    async def _patiently(self, attempt: Callable[[Any], Awaitable[T]]) -> T:
        from redis.exceptions import RedisClusterException, RedisError

        loop = asyncio.get_running_loop()
        give_up_at, pause = loop.time() + PATIENCE_SECONDS, FIRST_PAUSE_SECONDS
        async with self._calls:
            while True:
                try:
                    with truthful():
                        return await attempt(await self._ready(self.open()))
                except (RedisError, RedisClusterException, OSError) as error:
                    if not passes(error, self.place) or loop.time() + pause > give_up_at:
                        raise translated(error, self.place) from error
                    await self._forget(error)
                await asyncio.sleep(jitter(pause / 2, pause))
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _ready(self, client: Any) -> Any:
        """The client, which knows its cluster: calls that look at it for the first time together lose connections."""
        if self.place.cluster:
            async with self._looking:
                await client.initialize()
        return client

    async def _forget(self, error: Exception) -> None:
        """After a failover, connections lead to a replica: the address is to be looked up again."""
        if type(error).__name__ in ("ReadOnlyError", "MasterDownError"):
            if self.place.cluster:
                await self._client.aclose()
            else:
                await self._client.connection_pool.disconnect(inuse_connections=False)

    def _create(self, read_timeout: float) -> Any:
        from redis.asyncio import Redis, RedisCluster
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        options: dict[str, Any] = {
            **self.place.client,
            "socket_connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "socket_timeout": read_timeout,
            "socket_keepalive": True,
            "decode_responses": True,
            "protocol": 2,
            "retry": Retry(NoBackoff(), 0),
            "max_connections": 2 * (CALLS + WAITERS),
        }
        if self.place.cluster:  # 0: a slot that has moved is no reason to close every connection, in use or not
            return RedisCluster(**options, reinitialize_steps=0)
        return Redis(**options)
