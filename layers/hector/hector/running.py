"""The turns that run in this process: each a producer, with the conversation that its agent is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hector.agents.base import ServedAgent, Turn
from hector.history import conversation, turns_needed
from hector.live import LiveLog, LiveLogs
from hector.model import Task
from hector.producer import CLEAN_UP_SECONDS, Limits, Producer
from hector.stores.base import Lease, Store


class Running:
    def __init__(self, store: Store, live: LiveLogs) -> None:
        self._store = store
        self._live = live
        self._producers: dict[asyncio.Task[None], Producer] = {}

    async def start(
        self,
        served: ServedAgent,
        lease: Lease,
        task: Task,
        *,
        ended: Sequence[Task] = (),
        log: LiveLog | None = None,
        seconds_left: float | None = None,
    ) -> None:
        """Run the claimed task's turn, from now on by itself. `ended` are the newest turns, as far as they are known.

        Raises StoreUnavailable, NotFound; then nothing has begun.
        """
        needed = turns_needed(served.window)
        if lease.head != (ended[-1].turn if ended else 0) or len(ended) < min(needed, lease.head):
            ended = await self._store.read_history(lease.session.principal, lease.session.id, limit=max(1, needed))
        turn = Turn(task.id, lease.session, task.input, conversation(ended, window=served.window), served.system)
        seconds = served.timeout if seconds_left is None else min(served.timeout, seconds_left)
        log = log or self._live.open(task.id)
        self._run(Producer(self._store, log, lease, Limits(seconds, served.streams)), served, turn)

    async def drain(self) -> None:
        """Wait until none runs."""
        while self._producers:
            await asyncio.wait(set(self._producers))

    async def stop(self, grace: float) -> None:
        """Those that run may go on for `grace` seconds; then they fail, and say so."""
        if self._producers:
            await asyncio.wait(set(self._producers), timeout=grace)
        for producer in self._producers.values():
            producer.stop()
        if self._producers:
            await asyncio.wait(set(self._producers), timeout=2 * CLEAN_UP_SECONDS)

    def _run(self, producer: Producer, served: ServedAgent, turn: Turn) -> None:
        running = asyncio.create_task(producer.run(served.agent, turn), name=f"turn {turn.task_id}")
        self._producers[running] = producer

        def ended(done: asyncio.Task[None]) -> None:
            del self._producers[done]
            self._live.forget(turn.task_id, producer.log)

        running.add_done_callback(ended)
