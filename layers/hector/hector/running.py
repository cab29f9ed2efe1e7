"""The turns that run in this process: each a producer, with the conversation that its agent is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from hector.agents.base import Agent, ServedAgent, Turn
from hector.history import NOTHING_KNOWN, History, Known
from hector.live import LiveLog, LiveLogs
from hector.margins import CLEAN_UP_SECONDS
from hector.model import Event, Task
from hector.producer import Limits, Producer
from hector.queues.base import WorkQueue
from hector.stores.base import Clock, Lease, Store
from hector.stores.log import read_log, seconds_taken, text_of


class Running:
    def __init__(self, store: Store, live: LiveLogs, history: History, clock: Clock, queue: WorkQueue | None) -> None:
        self._store = store
        self._now = clock
        self._history = history
        self._live = live
        self._queue = queue
        self._producers: dict[asyncio.Task[None], Producer] = {}

    async def start(
        self,
        served: ServedAgent,
        lease: Lease,
        task: Task,
        *,
        known: Known = NOTHING_KNOWN,
        log: LiveLog | None = None,
        stored: Sequence[Event] = (),
        seconds_left: float | None = None,
    ) -> LiveLog:
        """Run the claimed task's turn, from now on by itself; its log, which may have been open while it waited.

        `known` is what has been read of its session, `stored` what another process has told in its log. Raises
        StoreUnavailable, NotFound; then nothing has begun.
        """
        seconds = max(0.0, served.timeout - seconds_taken(stored))
        seconds = seconds if seconds_left is None else min(seconds, seconds_left)
        agent, turn = await self._history.recall(served, lease, task, known, seconds=seconds)
        log = log or self._live.open(task.id)
        for event in stored:
            log.append(event)
        turn = replace(turn, so_far=text_of(stored))
        limits = Limits(served.timeout, seconds_left, served.streams)
        queue = self._queue if served.hands_over else None
        self._run(Producer(self._store, log, lease, limits, self._now, queue), agent, turn)
        return log

    async def go_on(
        self, served: ServedAgent, lease: Lease, *, log: LiveLog | None = None, seconds_left: float | None = None
    ) -> LiveLog | None:
        """Run a claimed task that another process has submitted, and may have begun; its log, from its beginning.

        None if it has ended meanwhile. Raises as `start` does.
        """
        principal = lease.session.principal
        task = await self._store.read_task(principal, lease.task_id)
        if task.state.terminal:  # canceled in this very moment
            await self._store.release(lease)
            return None
        stored = await read_log(self._store, principal, task.id)
        return await self.start(served, lease, task, log=log, stored=stored, seconds_left=seconds_left)

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

    def _run(self, producer: Producer, agent: Agent, turn: Turn) -> None:
        running = asyncio.create_task(producer.run(agent, turn), name=f"turn {turn.task_id}")
        self._producers[running] = producer

        def ended(done: asyncio.Task[None]) -> None:
            del self._producers[done]
            self._live.forget(turn.task_id, producer.log)

        running.add_done_callback(ended)
