"""One answer, from its first to its last event, on a screen: what chat, call and task follow share."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from hector.cli.client import Client
from hector.cli.screens import Screen, complain
from hector.cli.stream import Reconnecting, StreamEvent, TaskStream
from hector.errors import HectorError


async def show(client: Client, stream: TaskStream, screen: Screen, *, owned: bool = True) -> str | None:
    """The task's final state; None if there was nothing left to read.

    An `owned` task is canceled when this is (Ctrl-C), and when nobody reads the output any more.
    """
    began = time.monotonic()
    end: StreamEvent | None = None
    lost = False
    try:
        async with screen:
            async for event in stream.events():
                if isinstance(event, Reconnecting):
                    screen.note("The connection was lost; reconnecting")
                elif event.ends:
                    end = event
                elif event.is_reset:
                    lost = True
                elif event.text:
                    screen.text(event.text)
                elif note := event.status.get("message"):
                    screen.note(note, event.status.get("fraction"))
    except (asyncio.CancelledError, BrokenPipeError):
        if owned:
            await stream.cancel()
        raise
    if lost:
        complain("The end of what is shown above was lost with the server.")
    if end is None:
        return None
    if error := end.status.get("error"):
        complain(error["message"])
    with suppress(HectorError):  # the session may have been erased already
        screen.usage(await client.get("tasks", stream.task_id or ""), time.monotonic() - began)
    state: str = end.status["state"]
    return state
