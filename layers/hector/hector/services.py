"""What the entrances (web, Lambda handlers, command line, events) work with. `hector.wiring` builds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hector.agents.base import ServedAgent
from hector.config.settings import Settings
from hector.follow import Follow
from hector.queues.base import WorkQueue
from hector.recovery import Recovery
from hector.stores.base import Clock, Store
from hector.turns import Turns

if TYPE_CHECKING:
    from hector.sweep import Sweep
    from hector.worker import Worker

HEARTBEAT_SECONDS = 10.0


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Services:
    """`heartbeat` is the longest silence on an open answer, in seconds.

    What most entrances need no part of, the sweep and the queue's worker, is imported when it is asked for.
    """

    settings: Settings
    store: Store
    agents: Mapping[str, ServedAgent]
    turns: Turns
    follow: Follow
    recovery: Recovery
    clock: Clock
    queue: WorkQueue | None = None
    heartbeat: float = HEARTBEAT_SECONDS

    @property
    def sweep(self) -> Sweep:
        from hector.sweep import Sweep

        return Sweep(self.store, self.recovery, self.turns, self.clock)

    @property
    def worker(self) -> Worker | None:
        """Looks after what the queue names; None without a queue."""
        from hector.worker import Worker

        return Worker(self.store, self.recovery, self.turns, self.queue, self.clock) if self.queue else None

    async def aclose(self) -> None:
        """End what runs, and close every connection."""
        await self.turns.stop()
        for agent in {id(served.agent): served.agent for served in self.agents.values()}.values():
            await agent.aclose()
        if self.queue is not None:
            await self.queue.aclose()
        await self.store.aclose()
