"""What asyncio leaves to be said in more words, and how those that wait do not do so in step."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

A = TypeVar("A")
B = TypeVar("B")

# Python's own generator has a state, which a snapshot of the process would give to every environment made from it.
_chance = secrets.SystemRandom()


def jitter(least: float, most: float) -> float:
    """A random number of seconds in between: what failed together shall not try again together."""
    return _chance.uniform(least, most)


class Background(set[asyncio.Task[None]]):
    """Work that nobody waits for but `done`; asyncio itself does not keep its tasks from being collected."""

    def start(self, work: Coroutine[Any, Any, None], name: str | None = None) -> None:
        task = asyncio.create_task(work, name=name)
        self.add(task)
        task.add_done_callback(self.discard)

    async def done(self) -> None:
        """Wait until what has been started is over."""
        if self:
            await asyncio.wait(set(self))


async def side_by_side(one: Awaitable[A], other: Awaitable[B]) -> tuple[A, B]:
    """The results of both, waited for together; an error is raised when both are done."""
    first, second = await asyncio.gather(one, other, return_exceptions=True)
    if isinstance(first, BaseException):
        raise first
    if isinstance(second, BaseException):
        raise second
    return first, second


async def abort(task: asyncio.Task[None], seconds: float) -> BaseException | None:
    """Cancel the task if it is not done, and wait for so long; what it raised, if it raised by itself."""
    if not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=seconds)
    if not task.done():
        return None
    return asyncio.CancelledError() if task.cancelled() else task.exception()


async def clean_up(task: asyncio.Task[None], seconds: float) -> None:
    """Let a canceled task close what it opened, for so long. One that will not end is left behind."""
    if not task.done() and not task.cancelling():
        task.cancel()
    await asyncio.wait({task}, timeout=seconds)
    if not task.done():
        logger.warning("%s ignores being canceled and is left behind", task.get_name())
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
