"""The least that FastAPI can do: frames that are ready, from an async generator that yields them one by one."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from benchmarks.probe import Probe
from benchmarks.probe import probe as probed
from hector.dialects.native import event_frame
from hector.model import Event, EventKind, new_session_id, new_task_id
from hector.services import HEARTBEAT_SECONDS
from hector.web.sse import HEARTBEAT, OPENING

app = FastAPI()
TASK_ID = new_task_id(new_session_id(), 1_800_000_000_000)
FRAMES: list[str] = []
_released = asyncio.Event()
_followers: list[asyncio.Queue[str]] = []


class Flood(BaseModel):
    events: int


class Broadcast(BaseModel):
    events: int
    seconds: float


@app.post("/flood")
async def flood(body: Flood) -> StreamingResponse:
    _prepare(body.events)
    return _stream(_frames(body.events))


@app.post("/silence")
async def silence() -> StreamingResponse:
    return _stream(_heartbeats())


@app.post("/ticks")
async def ticks() -> StreamingResponse:
    _prepare(1)
    return _stream(_ticks())


@app.post("/held")
async def held(body: Flood) -> StreamingResponse:
    _prepare(body.events)
    return _stream(_held(body.events))


@app.post("/release")
async def release() -> dict[str, int]:
    global _released
    _released.set()
    _released = asyncio.Event()
    return {"at": time.perf_counter_ns()}


@app.post("/follow")
async def follow() -> StreamingResponse:
    queue: asyncio.Queue[str] = asyncio.Queue()
    _followers.append(queue)
    return _stream(_queued(queue))


@app.post("/broadcast")
async def broadcast(body: Broadcast) -> dict[str, int]:
    """To all that follow: as many frames, so many seconds apart, each with the moment at which it was made."""
    for number in range(1, body.events + 1):
        frame = event_frame(TASK_ID, Event(number, EventKind.MESSAGE, str(time.perf_counter_ns())))
        for queue in _followers:
            queue.put_nowait(frame)
        await asyncio.sleep(body.seconds)
    for queue in _followers:
        queue.put_nowait("")
    _followers.clear()
    return {"events": body.events}


@app.get("/probe")
async def probe(seconds: float) -> Probe:
    return await probed(seconds)


def _prepare(events: int) -> None:
    for number in range(len(FRAMES) + 1, events + 1):
        FRAMES.append(event_frame(TASK_ID, Event(number, EventKind.MESSAGE, " tok")))


def _stream(content: AsyncIterator[str] | AsyncIterator[bytes]) -> StreamingResponse:
    return StreamingResponse(content, media_type="text/event-stream")


async def _frames(events: int) -> AsyncIterator[str]:
    for frame in FRAMES[:events]:
        yield frame


async def _held(events: int) -> AsyncIterator[str]:
    yield OPENING.decode()
    await _released.wait()
    for frame in FRAMES[:events]:
        yield frame


async def _queued(queue: asyncio.Queue[str]) -> AsyncIterator[str]:
    yield OPENING.decode()
    while frame := await queue.get():
        yield frame


async def _heartbeats() -> AsyncIterator[bytes]:
    yield OPENING
    while True:
        await asyncio.sleep(HEARTBEAT_SECONDS)
        yield HEARTBEAT


async def _ticks() -> AsyncIterator[bytes]:
    yield OPENING
    while True:
        await asyncio.sleep(random.uniform(0.5, 1.5))
        yield FRAMES[0].encode()
