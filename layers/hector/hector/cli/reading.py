"""Reading a file, or a pipe that others are still writing, piece by piece, while the event loop goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import BinaryIO

_PIECE = 65_536


async def pieces(source: BinaryIO) -> AsyncGenerator[bytes, None]:
    """What an unbuffered file holds from here on. Raises OSError."""
    while piece := await _read(source):
        yield piece


async def _read(source: BinaryIO) -> bytes:
    """In a thread that nobody waits for at the end: a read from a pipe cannot be stopped."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bytes] = loop.create_future()

    def settle(piece: bytes | None, error: OSError | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(piece or b"")

    def read() -> None:
        piece, failure = None, None
        try:
            piece = source.read(_PIECE)
        except OSError as error:
            failure = error
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, piece, failure)

    threading.Thread(target=read, name="reading", daemon=True).start()
    return await done
