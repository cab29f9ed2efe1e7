"""Follows a task in a process of its own: `python -m benchmarks.follower URL TASK`; prints when each event came."""

from __future__ import annotations

import asyncio
import sys
import time

from benchmarks.stores import OWNER
from hector.config import store_at
from hector.follow import Follow
from hector.live import LiveLogs
from hector.recovery import Recovery
from hector.stores.base import system_clock
from hector.wiring import open_store


async def follow(url: str, task_id: str) -> None:
    store = open_store(store_at(url, "the URL"))
    live = LiveLogs()
    reader = Follow(store, live, Recovery(store, live, system_clock))
    task = await reader.task(OWNER, task_id)
    print("ready", flush=True)
    async for batch in reader.events(OWNER, task):
        at = time.time_ns()
        for event in batch:
            print(event.number, at, flush=True)
    await store.aclose()


if __name__ == "__main__":
    asyncio.run(follow(*sys.argv[1:]))
