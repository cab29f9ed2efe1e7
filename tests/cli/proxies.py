"""A connection that goes wrong: a TCP proxy before a server, which cuts, keeps back, and refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Proxy:
    """`keep_back` is how many answers to a message stay away; `down` turns away every connection."""

    def __init__(self, cut_after: list[int]) -> None:
        self._limits = iter(cut_after)
        self._loop = asyncio.get_running_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self.address = ""
        self.keep_back = 0
        self.down = False

    def cut(self) -> None:
        """Every connection that there is, from any thread."""

        def abort() -> None:
            for writer in self._writers:
                writer.transport.abort()

        self._loop.call_soon_threadsafe(abort)

    async def connect(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.down:
            writer.close()
            return
        self._writers.add(writer)
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", port)
        kept = False

        async def forward_request() -> None:
            nonlocal kept
            with suppress(ConnectionError):
                while data := await reader.read(65536):
                    if self.keep_back and b"/tasks/stream " in data:
                        self.keep_back, kept = self.keep_back - 1, True
                    upstream_writer.write(data)
            upstream_writer.close()

        forwarding = asyncio.create_task(forward_request())
        left = next(self._limits, 10**9)
        with suppress(ConnectionError):
            while left > 0 and (data := await upstream_reader.read(min(left, 65536))):
                if not kept:
                    left -= len(data)
                    writer.write(data)
                    await writer.drain()
        forwarding.cancel()
        upstream_writer.close()
        writer.close()
        self._writers.discard(writer)


@asynccontextmanager
async def proxy_before(port: int, cut_after: list[int] | None = None) -> AsyncIterator[Proxy]:
    """It cuts the n-th connection after `cut_after[n]` bytes of its answers; later ones live."""
    proxy = Proxy(cut_after or [])
    connections: set[asyncio.Task[None]] = set()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if task := asyncio.current_task():
            connections.add(task)
        await proxy.connect(port, reader, writer)

    listening = await asyncio.start_server(connect, "127.0.0.1", 0)
    proxy.address = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        listening.close()
        if connections:
            await asyncio.wait(connections, timeout=5)
