"""Server-Sent Events: frames, and the comments that keep a quiet stream open."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

from starlette.responses import Response, StreamingResponse

from hector.dialects.native import event_frame
from hector.errors import StoreUnavailable
from hector.model import Event
from hector.telemetry import OpenStream

logger = logging.getLogger(__name__)

OPENING = b": ok\n\n"
HEARTBEAT = b": heartbeat\n\n"
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""No cache and no proxy may hold a stream back (nginx reads X-Accel-Buffering)."""


def event_stream(
    task_id: str,
    batches: AsyncGenerator[Sequence[Event], None],
    heartbeat: float,
    *,
    location: str,
    cut: Callable[[], None],
    seconds: float | None = None,
) -> Response:
    """The batches as they come, with a comment at once and after every `heartbeat` seconds of silence.

    `location` is the task's own stream (RFC 9110, section 8.7): a client knows the task before its first event. `cut`
    is called if the client leaves before the end. After `seconds` the stream ends wherever it is, without a terminal
    event, which tells the client to resume.
    """
    headers = {**HEADERS, "Content-Location": location}
    return StreamingResponse(
        _frames(task_id, batches, heartbeat, cut, seconds), headers=headers, media_type="text/event-stream"
    )


async def _frames(
    task_id: str,
    batches: AsyncGenerator[Sequence[Event], None],
    heartbeat: float,
    cut: Callable[[], None],
    seconds: float | None,
) -> AsyncIterator[bytes]:
    stream = OpenStream()
    try:
        yield OPENING
        async for batch in or_silence(batches, heartbeat, seconds):
            stream.tick()
            yield HEARTBEAT if batch is None else "".join([event_frame(task_id, event) for event in batch]).encode()
    except StoreUnavailable as error:
        # The status line has left long ago. Without a terminal event a client knows that it has to resume.
        logger.error("a stream of task %s ends early: %s", task_id, error)
    except (asyncio.CancelledError, GeneratorExit):
        cut()
        raise
    finally:
        stream.close()


async def or_silence(
    batches: AsyncGenerator[Sequence[Event], None], interval: float, seconds: float | None = None
) -> AsyncGenerator[Sequence[Event] | None, None]:
    """The batches, and None whenever `interval` seconds go by without one; for `seconds` at most.

    One task and one timer serve the whole stream: new ones for every token would make it a fifth dearer.
    """
    loop = asyncio.get_running_loop()
    handed_over: asyncio.Queue[Sequence[Event] | Exception | None] = asyncio.Queue(1)
    quiet_since = loop.time()
    ends_at = math.inf if seconds is None else quiet_since + seconds
    timer: asyncio.TimerHandle

    async def hand_over() -> None:
        try:
            async for batch in batches:
                await handed_over.put(batch)
        except Exception as error:  # noqa: BLE001 - raised where it is read
            await handed_over.put(error)
        else:
            await handed_over.put(())

    def look() -> None:
        nonlocal timer, quiet_since
        now = loop.time()
        if now >= min(quiet_since + interval, ends_at):
            if handed_over.empty():
                handed_over.put_nowait(None)
            quiet_since = now
        if now < ends_at:
            timer = loop.call_at(min(quiet_since + interval, ends_at), look)

    timer = loop.call_later(min(interval, ends_at - quiet_since), look)
    handing_over = asyncio.create_task(hand_over())
    try:
        while loop.time() < ends_at:
            batch = await handed_over.get()
            if isinstance(batch, Exception):
                raise batch
            if batch is not None and not batch:
                return
            yield batch
            quiet_since = loop.time()
    finally:
        timer.cancel()
        handing_over.cancel()
        await asyncio.gather(handing_over, return_exceptions=True)
        await batches.aclose()
