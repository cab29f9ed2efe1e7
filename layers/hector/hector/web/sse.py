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
    try:
        yield OPENING
        async for batch in or_silence(batches, heartbeat, seconds):
            yield HEARTBEAT if batch is None else "".join([event_frame(task_id, event) for event in batch]).encode()
    except StoreUnavailable as error:
        # The status line has left long ago. Without a terminal event a client knows that it has to resume.
        logger.error("a stream of task %s ends early: %s", task_id, error)
    except (asyncio.CancelledError, GeneratorExit):
        cut()
        raise


async def or_silence(
    batches: AsyncGenerator[Sequence[Event], None], interval: float, seconds: float | None = None
) -> AsyncGenerator[Sequence[Event] | None, None]:
    """The batches, and None whenever `interval` seconds go by without one; for `seconds` at most."""
    upcoming: asyncio.Task[Sequence[Event]] | None = None
    time = asyncio.get_running_loop().time
    ends_at = math.inf if seconds is None else time() + seconds
    try:
        while (left := ends_at - time()) > 0:
            upcoming = upcoming or asyncio.ensure_future(_next(batches))
            done, _ = await asyncio.wait({upcoming}, timeout=min(interval, left))
            if not done:
                yield None
                continue
            batch, upcoming = upcoming.result(), None
            if not batch:
                return
            yield batch
    finally:
        if upcoming is not None:
            upcoming.cancel()
            await asyncio.gather(upcoming, return_exceptions=True)
        await batches.aclose()


async def _next(batches: AsyncGenerator[Sequence[Event], None]) -> Sequence[Event]:
    """The next batch; an empty one at the end (a task must not raise StopAsyncIteration)."""
    async for batch in batches:
        return batch
    return ()
