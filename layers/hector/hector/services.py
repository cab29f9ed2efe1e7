"""What the entrances (web, Lambda handlers, command line, events) work with. `hector.wiring` builds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hector.agents.base import ServedAgent
from hector.config.settings import Settings
from hector.follow import Follow
from hector.queues.base import WorkQueue
from hector.stores.base import Store
from hector.sweep import Sweep
from hector.turns import Turns
from hector.worker import Worker

HEARTBEAT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Services:
    """`heartbeat` is the longest silence on an open answer, in seconds; `worker` looks after what `queue` names."""

    settings: Settings
    store: Store
    agents: Mapping[str, ServedAgent]
    turns: Turns
    follow: Follow
    sweep: Sweep
    worker: Worker | None = None
    queue: WorkQueue | None = None
    heartbeat: float = HEARTBEAT_SECONDS

    async def aclose(self) -> None:
        """End what runs, and close every connection."""
        await self.turns.stop()
        for agent in {id(served.agent): served.agent for served in self.agents.values()}.values():
            await agent.aclose()
        if self.queue is not None:
            await self.queue.aclose()
        await self.store.aclose()
