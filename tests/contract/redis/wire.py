"""A proxy in front of an engine that does to an answer what networks do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from hector.stores.redis.scripts import script


@dataclass
class Proxy:
    """What is armed happens to the next request that holds its mark, `times` times."""

    url: str = ""
    mark: bytes = b""
    fault: str = ""
    times: int = 0
    met: list[str] = field(default_factory=list)
    stalled: asyncio.Event = field(default_factory=asyncio.Event)

    def lose_answer(self, command: str, *, times: int = 1) -> None:
        """The request takes effect; the connection is cut before its answer comes."""
        self._arm("lose", command, times)

    def reset(self, command: str, *, times: int = 1) -> None:
        """The connection is cut before the request arrives."""
        self._arm("reset", command, times)

    def stall(self, command: str, *, times: int = 1) -> None:
        """The request takes effect; its answer never comes, and the connection stays open."""
        self._arm("stall", command, times)

    def _arm(self, fault: str, command: str, times: int) -> None:
        self.mark = command.encode() if command.isupper() else script(command).sha.encode()
        self.fault, self.times, self.met = fault, times, []

    async def serve(self, host: str, port: int, client: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        reader, writer = client
        back, forth = await asyncio.open_connection(host, port)
        answering: asyncio.Task[None] | None = None
        try:
            while request := await reader.read(1 << 20):
                fault = self.fault if self.times and self.mark in request else ""
                if fault:
                    self.times -= 1
                    self.met.append(fault)
                if fault == "reset":
                    return
                if fault and answering is not None:
                    answering.cancel()
                    await asyncio.gather(answering, return_exceptions=True)
                forth.write(request)
                if fault:
                    await back.read(1)
                if fault == "lose":
                    return
                if fault == "stall":
                    await self.stalled.wait()
                    return
                if answering is None:
                    answering = asyncio.create_task(_copy(back, writer))
        finally:
            if answering is not None:
                answering.cancel()
            forth.close()
            writer.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(1 << 20):
        target.write(data)
    target.close()


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[Proxy]:
    """A proxy in front of this engine; `proxy.url` leads through it."""
    to = urlsplit(url)
    proxy = Proxy()
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        with suppress(OSError, asyncio.CancelledError):
            await proxy.serve(str(to.hostname), to.port or 0, (reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        proxy.stalled.set()
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
