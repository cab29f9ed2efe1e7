"""The agents that are served while streams are measured."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from dataclasses import asdict

from benchmarks.probe import probe as probed
from hector.agents.base import Turn

_released = asyncio.Event()


async def flood(turn: Turn) -> AsyncIterator[str]:
    """As many small tokens as the user's message says, without ever waiting."""
    for _ in range(int(turn.text)):
        yield " tok"


async def stamp(_: Turn) -> AsyncIterator[str]:
    """The moment at which the model was called, as its first token (nanoseconds of this machine's monotonic clock)."""
    yield str(time.perf_counter_ns())


async def silence(_: Turn) -> None:
    """Nothing, until the turn is stopped."""
    await asyncio.Event().wait()


async def ticks(_: Turn) -> AsyncIterator[str]:
    """A small token a second on the average, without end; turns that a slow moment brought into step fall out of it."""
    while True:
        await asyncio.sleep(random.uniform(0.5, 1.5))
        yield " tok"


async def probe(turn: Turn) -> str:
    """The server's own `Probe` as JSON, after as many seconds as the user's message says."""
    return json.dumps(asdict(await probed(float(turn.text))))


async def held(turn: Turn) -> AsyncIterator[str]:
    """Once `release` has been called: COUNT tokens ("COUNT SECONDS"), each the moment at which it was made.

    SECONDS go by between two of them; if that is 0, it never waits.
    """
    count, seconds = turn.text.split()
    await _released.wait()
    for _ in range(int(count)):
        yield str(time.perf_counter_ns())
        if float(seconds):
            await asyncio.sleep(float(seconds))


async def release(_: Turn) -> str:
    """The moment at which all turns that are held were let go."""
    global _released
    _released.set()
    _released = asyncio.Event()
    return str(time.perf_counter_ns())
