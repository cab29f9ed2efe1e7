"""The agents that are served while streams are measured."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from hector.agents.base import Turn


async def flood(turn: Turn) -> AsyncIterator[str]:
    """As many small tokens as the user's message says, without ever waiting."""
    for _ in range(int(turn.text)):
        yield " tok"


async def stamp(_: Turn) -> AsyncIterator[str]:
    """The moment at which the model was called, as its first token (nanoseconds of this machine's monotonic clock)."""
    yield str(time.perf_counter_ns())
