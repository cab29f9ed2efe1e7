"""The least that FastAPI can do: frames that are ready, from an async generator that yields them one by one."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from hector.dialects.native import event_frame
from hector.model import Event, EventKind, new_session_id, new_task_id

app = FastAPI()
TASK_ID = new_task_id(new_session_id(), 1_800_000_000_000)
FRAMES: list[str] = []


class Flood(BaseModel):
    events: int


@app.post("/flood")
async def flood(body: Flood) -> StreamingResponse:
    for number in range(len(FRAMES) + 1, body.events + 1):
        FRAMES.append(event_frame(TASK_ID, Event(number, EventKind.MESSAGE, " tok")))
    return StreamingResponse(_frames(body.events), media_type="text/event-stream")


async def _frames(events: int) -> AsyncIterator[str]:
    for frame in FRAMES[:events]:
        yield frame
