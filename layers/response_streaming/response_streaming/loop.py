"""The process's one event loop, and the rule that no task outlives its invocation.

Between invocations Lambda freezes the process. A task that is still on the loop would go on *inside the next
invocation*, on that one's time and log lines.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

E = TypeVar("E")
T = TypeVar("T")

logger = logging.getLogger("response_streaming")

GRACE = 5.0  # seconds that a cancelled task gets to finish, if the invocation has them
LAST = 0.5  # seconds before the invocation's end: the process is ended by then, and its log says why


class Context(Protocol):
    def get_remaining_time_in_millis(self) -> int: ...


@functools.cache
def process_loop() -> asyncio.AbstractEventLoop:
    """One loop for all invocations, so that connection pools made in one can be used in the next."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop


def async_handler(handle: Callable[[E, Any], Coroutine[Any, Any, T]]) -> Callable[[E, Any], T]:
    """The Lambda handler for an asynchronous function of event and context; no task outlives its invocation."""

    async def invocation(event: E, context: Context) -> T:
        try:
            return await handle(event, context)
        finally:
            await end_leftover_tasks(context)

    def handler(event: E, context: Context) -> T:
        return process_loop().run_until_complete(invocation(event, context))

    return handler


async def end_leftover_tasks(context: Context | None) -> None:
    """Cancels and awaits every task but the caller's, and names them in a warning.

    Ends the process (SystemExit) when a task refuses to be cancelled for GRACE seconds, or until the invocation is
    nearly over: a fresh environment is safe, the next invocation in this one would not be.
    """
    left = GRACE if context is None else context.get_remaining_time_in_millis() / 1000 - LAST
    deadline = time.monotonic() + min(GRACE, left)
    named: set[str] = set()
    while leftover := asyncio.all_tasks() - {asyncio.current_task()}:
        if named and time.monotonic() > deadline:
            logger.critical("Ending the process: these tasks ignore cancellation: %s", ", ".join(sorted(named)))
            raise SystemExit(1)
        if fresh := {_describe(task) for task in leftover} - named:
            named |= fresh
            logger.warning(
                "Cancelled %d task(s) that the application left behind: %s. Await background work before the "
                "application returns, or hand it to a queue.",
                len(fresh),
                ", ".join(sorted(fresh)),
            )
        for task in leftover:
            task.cancel()
        done, _ = await asyncio.wait(leftover, timeout=0.25)
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.warning("%s failed while it was cancelled", _describe(task), exc_info=error)


def _describe(task: asyncio.Task[object]) -> str:
    code = getattr(task.get_coro(), "__qualname__", repr(task.get_coro()))
    return f"{task.get_name()} ({code})"
