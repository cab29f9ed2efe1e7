"""Many streams read at once, by one event loop in the benchmark's own process.

What comes is kept with its moment and looked at afterwards, so that reading takes as little of the machine as it can.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx

from benchmarks.reader import DATA, request

AT_ONCE = 50
PATIENCE_SECONDS = 60
_LOCATION = re.compile(rb"\r\ncontent-location: http://[^/]+(/\S+)", re.IGNORECASE)


class Stream(asyncio.Protocol):
    """One response: `begun` once its first bytes of body are here, `ended` once the server has closed it."""

    def __init__(self, content: bytes) -> None:
        loop = asyncio.get_running_loop()
        self.begun: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.received: list[tuple[int, bytes]] = []
        self._content = content
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._content)

    def data_received(self, data: bytes) -> None:
        self.received.append((time.perf_counter_ns(), data))
        if not self.begun.done() and self.body:
            self.begun.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        for future in (self.begun, self.ended):
            if not future.done():
                future.set_result(None)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    @property
    def content(self) -> bytes:
        return b"".join(data for _, data in self.received)

    @property
    def body(self) -> bytes:
        return self.content.partition(b"\r\n\r\n")[2]

    @property
    def events(self) -> int:
        return self.content.count(DATA)

    @property
    def location(self) -> str:
        """The path of the task's own stream."""
        found = _LOCATION.search(self.content)
        if found is None:
            raise RuntimeError(self.content.decode(errors="replace"))
        return found[1].decode()

    def check(self) -> None:
        """Raises RuntimeError unless it is a stream that goes well."""
        if b" 200 " not in self.content[:20]:
            raise RuntimeError(self.content.decode(errors="replace") or "the server closed the connection")


async def opened(port: int, path: str, body: object = None) -> Stream:
    """A stream whose first bytes have come. Raises RuntimeError, OSError."""
    content = request(path, None if body is None else json.dumps(body))
    loop = asyncio.get_running_loop()
    _, stream = await loop.create_connection(lambda: Stream(content), "127.0.0.1", port)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await stream.begun
    stream.check()
    return stream


@contextlib.asynccontextmanager
async def crowd(port: int, path: str, body: object, count: int) -> AsyncIterator[Sequence[Stream]]:
    """So many streams of the same request, all of them open; a few are opened at a time."""
    turnstile = asyncio.Semaphore(AT_ONCE)

    async def enter() -> Stream:
        async with turnstile:
            return await opened(port, path, body)

    streams = await asyncio.gather(*(enter() for _ in range(count)))
    try:
        yield streams
    finally:
        for stream in streams:
            stream.close()
        await asyncio.gather(*(stream.ended for stream in streams))


async def answer(port: int, path: str, body: object = None) -> Any:
    """The JSON that a request answers with. Raises httpx.HTTPError."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS) as client:
        response = await (client.get(path) if body is None else client.post(path, json=body))
        return response.raise_for_status().json()


def said(text: str) -> dict[str, Any]:
    """The body that sends this to an agent."""
    return {"message": {"role": "user", "parts": [{"type": "text", "text": text}]}}
