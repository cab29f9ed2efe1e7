"""What the tests build with: services on any store, agents made of a function, and a real server in this loop."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import uvicorn

from hector.agents.base import Agent, Turn
from hector.agents.builtin import BuiltinAgent
from hector.agents.python import PythonAgent
from hector.config.settings import DEFAULTS, Settings
from hector.model import Event, Millis, Principal, Task
from hector.queues.base import WorkQueue
from hector.services import Services
from hector.stores.base import Store, system_clock
from hector.testing.bench import said
from hector.testing.clock import ManualClock
from hector.wiring import build

__all__ = ["ManualClock", "said"]

ALICE = Principal("alice")
BOB = Principal("bob")


def services_with(
    store: Store | None = None,
    *,
    agent: Agent | Callable[..., Any] | None = None,
    clock: Callable[[], Millis] | None = None,
    queue: WorkQueue | None = None,
    heartbeat: float = 10.0,
    **settings: Any,
) -> Services:
    """Services of the embedded defaults without delays; every agent is `agent`, if one is given."""
    checked = Settings.model_validate({**DEFAULTS, "llms": {"builtin": {"type": "builtin"}}, **settings})
    services = build(checked, store=store, queue=queue, heartbeat=heartbeat, clock=clock or system_clock)
    if agent is None:
        chosen: Agent = BuiltinAgent()
    elif callable(agent):
        chosen = PythonAgent(agent)
    else:
        chosen = agent
    agents = {id_: replace(served, agent=chosen) for id_, served in services.agents.items()}
    services.turns._agents = agents
    return replace(services, agents=agents)


async def new_session(services: Services, principal: Principal = ALICE, **options: Any) -> str:
    return (await services.turns.create_session(principal, "my_agent", **options)).id


async def ask(services: Services, session_id: str, text: str, principal: Principal = ALICE) -> Task:
    """One whole turn."""
    task = await services.turns.start(principal, session_id, said(text))
    return await services.follow.ended(principal, task)


async def events_of(services: Services, task: Task, after: int = 0, principal: Principal = ALICE) -> list[Event]:
    return [event async for batch in services.follow.events(principal, task, after=after) for event in batch]


@asynccontextmanager
async def serving(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """The whole API on a real uvicorn, in this event loop; a client for it."""
    from hector.web.server import whole_app

    server = uvicorn.Server(uvicorn.Config(whole_app(services), port=0, log_level="error", timeout_graceful_shutdown=1))
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        await running


@dataclass(frozen=True)
class Frame:
    """A frame of Server-Sent Events, as it came."""

    raw: str
    id: int
    event: str
    data: dict[str, Any]


_FRAME = re.compile(r"id: (\d+)\nevent: (\w+)\ndata: (.*)")


def frames(stream: str) -> list[Frame]:
    """The frames of a whole stream, comments aside."""
    found = []
    for block in stream.split("\n\n"):
        if block and not block.startswith(":"):
            match = _FRAME.fullmatch(block)
            assert match, block
            found.append(Frame(block, int(match[1]), match[2], json.loads(match[3])))
    return found


class Context:
    """Lambda's, of an invocation that begins now."""

    def __init__(self, seconds: float = 60.0) -> None:
        self._ends_at = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(1000 * (self._ends_at - time.monotonic()))


async def slow_to_close(turn: Turn) -> AsyncIterator[str]:
    """An agent that cannot be stopped within the last seconds of an invocation."""
    try:
        yield "a"
        await asyncio.sleep(3600)
    finally:
        await asyncio.sleep(8)


async def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
