"""Try a model again, where that is safe: never after the first piece of the answer, and a bounded number of times.

This is the only place where model calls are repeated; the SDKs' own retries are switched off.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from hector.agents.base import Output
from hector.concurrency import jitter
from hector.errors import ModelError


@dataclass(frozen=True, slots=True)
class Retries:
    """At most `attempts` calls. Between them a random time up to `first` seconds, doubled each time, up to `longest`.

    A server that asks for a pause (Retry-After) gets it, if it is no longer than `longest`; else the error stands.
    """

    attempts: int = 4
    first: float = 0.5
    longest: float = 10.0

    def pause(self, error: ModelError, attempt: int) -> float | None:
        """The seconds to wait after the attempt with this number, from 1; None: give up."""
        if not error.retry or attempt >= self.attempts:
            return None
        pause = jitter(0, min(self.longest, self.first * 2 ** (attempt - 1)))
        if error.retry_after is None:
            return pause
        return error.retry_after + pause if error.retry_after <= self.longest else None

    async def answer(self, attempt: Callable[[], AsyncGenerator[Output, None]]) -> AsyncGenerator[Output, None]:
        """The outputs of the first attempt that gets any, or the error that stands."""
        for number in range(1, self.attempts + 1):
            said = False
            try:
                async with aclosing(attempt()) as outputs:
                    async for output in outputs:
                        said = True
                        yield output
                return
            except ModelError as error:
                pause = self.pause(error, number)
                if said or pause is None:
                    raise
            await asyncio.sleep(pause)
