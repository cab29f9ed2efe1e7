"""One answer, from its first to its last event, on a screen: what chat, call and task follow share."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from hector.cli.client import Client
from hector.cli.exits import NotCanceled
from hector.cli.output import OutputFailed
from hector.cli.screens import Screen, complain
from hector.cli.stream import Reconnecting, TaskStream
from hector.errors import HectorError

_CUT_OFF = {"max_tokens": "the model reached max_tokens", "context_window": "the model's context is full"}


async def show(client: Client, stream: TaskStream, screen: Screen, *, owned: bool = True) -> str:
    """The task's final state.

    An `owned` task is canceled when this is (Ctrl-C), and when nobody reads the output any more. Raises NotCanceled if
    Ctrl-C could not cancel it, besides what the client raises.
    """
    began = time.monotonic()
    status: dict[str, Any] = {}
    shown, reset = 0, None
    try:
        async with screen:
            async for event in stream.events():
                if isinstance(event, Reconnecting):
                    screen.note("The connection was lost; reconnecting")
                elif event.ends:
                    status = event.status
                elif event.is_reset:
                    reset = event.number
                elif event.text:
                    screen.text(event.text)
                    shown = event.number
                elif note := event.status.get("message"):
                    screen.note(note, event.status.get("fraction"))
    except asyncio.CancelledError:
        if owned:
            await _cancel(stream)
        raise
    except (BrokenPipeError, OutputFailed):
        if owned:
            await _cancel_unread(stream)
        raise
    if reset is not None:
        _explain(reset, shown)
    if not status:  # everything had been read before
        task = await client.get("tasks", stream.task_id or "")
        status = {**task["status"], "stop_reason": task.get("stopReason")}
    if why := _not_whole(status):
        complain(why)
    with suppress(HectorError):  # the session may have been erased already
        screen.usage(await client.get("tasks", stream.task_id or ""), time.monotonic() - began)
    state: str = status["state"]
    return state


def why_cut(stop_reason: str | None) -> str | None:
    """Why a completed answer is not whole; None if it is."""
    return _CUT_OFF.get(stop_reason, stop_reason) if stop_reason else None


def _not_whole(status: dict[str, Any]) -> str | None:
    """What is said of an answer that has ended, but not as it should."""
    if error := status.get("error"):
        return str(error["message"])
    if status["state"] == "canceled":
        return "The answer was canceled before its end."
    if why := why_cut(status.get("stop_reason")):
        return f"The answer is cut off: {why}."
    return None


async def _cancel(stream: TaskStream) -> None:
    """For a person, who sees at once that it is on its way, and may press Ctrl-C again. Raises NotCanceled."""
    canceling = asyncio.ensure_future(stream.cancel())
    with _interrupting(canceling):
        if sys.stderr.isatty():
            print("(canceling)", file=sys.stderr, flush=True)
        await asyncio.wait({canceling})
    if canceling.cancelled():
        raise NotCanceled("The answer may go on: nobody waited to see it canceled.")
    canceling.result()


@contextmanager
def _interrupting(work: asyncio.Future[None]) -> Iterator[None]:
    """Ctrl-C ends the work. It has come before, and the second is a KeyboardInterrupt wherever the loop may be."""
    loop = asyncio.get_running_loop()
    before = signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(work.cancel))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


async def _cancel_unread(stream: TaskStream) -> None:
    try:
        await stream.cancel()
    except NotCanceled as error:
        complain(error.message)


def _explain(reset: int, shown: int) -> None:
    """What it means that the log ends with event `reset`, to a reader whose last text was event `shown`, or 0."""
    if shown > reset:
        complain("The end of what is shown above was lost with the server.")
    elif not shown:
        complain(f"The task has no events after number {reset} but its end.")
