"""A line to PostgreSQL that breaks where a test wants it to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import Enum

_COMMIT = b"COMMIT"


class Break(Enum):
    """What becomes of a COMMIT: it never arrives; it takes effect, but its answer is lost, or never comes."""

    BEFORE = "before"
    AFTER = "after"
    SILENCE = "silence"


class Proxy:
    def __init__(self, port: int) -> None:
        self._port = port
        self._next: list[tuple[Break, Callable[[], Awaitable[object]] | None]] = []
        self._lines: set[asyncio.Task[None]] = set()
        self.broken = 0

    def break_next(
        self, how: Break, *, meanwhile: Callable[[], Awaitable[object]] | None = None, times: int = 1
    ) -> None:
        """Of the commits to come; `meanwhile` happens before the other side learns that the line is broken."""
        self._next += [(how, meanwhile)] * times

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """The port to connect to."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for line in self._lines:
                line.cancel()
            await asyncio.gather(*self._lines, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.current_task()
        assert line
        self._lines.add(line)
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._port)
        back = asyncio.create_task(_copy(there_reader, writer))
        try:
            while data := await reader.read(65536):
                if _COMMIT in data and self._next:
                    how, meanwhile = self._next.pop(0)
                    self.broken += 1
                    back.cancel()
                    await asyncio.wait({back})
                    if how is not Break.BEFORE:
                        there_writer.write(data)
                        await there_reader.read(65536)
                    there_writer.close()
                    if meanwhile:
                        await meanwhile()
                    if how is Break.SILENCE:
                        await reader.read(65536)  # until the other side gives up
                    break
                there_writer.write(data)
        finally:
            back.cancel()
            there_writer.close()
            writer.close()
            self._lines.discard(line)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()
