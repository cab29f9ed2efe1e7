"""One event that a function was given, and what became of it."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from hector.emulator.limits import Limits

UNREAD_PIECES = 16  # what a function may be ahead of its reader

TOO_LARGE = "Function.ResponseSizeTooLarge"


class AnswerTooLarge(Exception):
    """The answer exceeds what Lambda takes."""


@dataclass
class Invocation:
    """``mode`` is "streaming" or "buffered" once an answer has begun.

    ``error`` is what the runtime (or Lambda, for a timeout or a crash) reported before that. ``trailers`` holds the two
    error trailers of a stream that failed later. ``cut`` says that the answer stopped without an end. ``arrivals`` are
    monotonic times of the answer's pieces. ``trace`` is the trace header of what led to it.
    """

    function: str
    event: bytes
    limits: Limits = field(default_factory=Limits)
    trace: str | None = None
    deadline_ms: int = 0
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    invocation_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    pid: int = 0
    cold: bool = False
    mode: str | None = None
    content_type: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    trailers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    content: bytearray = field(default_factory=bytearray)
    arrivals: list[float] = field(default_factory=list)
    began: float = 0.0
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    _pieces: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)
    _room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(UNREAD_PIECES))
    _unread: bool = False

    @property
    def failure(self) -> dict[str, Any] | None:
        """Why it failed, before or in the middle of its answer: ``errorType``, ``errorMessage``; None if it did not."""
        if self.error is not None:
            return self.error
        if kind := self.trailers.get("lambda-runtime-function-error-type"):
            return {**_decoded(self.trailers.get("lambda-runtime-function-error-body", "")), "errorType": kind}
        if self.cut:
            return {"errorType": "Runtime.ExitError", "errorMessage": "The answer was cut."}
        return None

    async def pieces(self) -> AsyncIterator[bytes]:
        """The answer's bytes as they arrive. One reader only; nobody reading means backpressure for the function."""
        while (piece := await self._pieces.get()) is not None:
            self._room.release()
            yield piece

    async def read(self) -> bytes:
        """The whole answer."""
        async for _ in self.pieces():
            pass
        return bytes(self.content)

    def leave(self) -> None:
        """Nobody reads on. The function is not told: its answer is taken and thrown away."""
        self._unread = True
        for _ in range(UNREAD_PIECES):
            self._room.release()

    async def add(self, piece: bytes) -> None:
        """Takes a piece of the answer. Raises AnswerTooLarge."""
        limits = self.limits
        self.arrivals.append(time.monotonic())
        self.content += piece
        if len(self.content) > (limits.stream_size if self.mode == "streaming" else limits.response):
            raise AnswerTooLarge
        if self.mode == "streaming" and len(self.content) > limits.stream_uncapped:
            await asyncio.sleep(len(piece) / limits.stream_rate)
        if not self._unread:
            await self._room.acquire()
            self._pieces.put_nowait(piece)

    def end(self, *, error: dict[str, Any] | None = None, cut: bool = False) -> None:
        """Ends the invocation, once."""
        if not self.ended.is_set():
            self.error, self.cut = error, cut
            self.ended.set()
            self.begun.set()
            self._pieces.put_nowait(None)


def _decoded(body: str) -> dict[str, Any]:
    """The trailer's base64 JSON, or nothing if it is something else."""
    try:
        found = json.loads(base64.b64decode(body))
    except (ValueError, binascii.Error):
        return {}
    return found if isinstance(found, dict) else {}
