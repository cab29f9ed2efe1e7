"""End the turns whose workers are gone. Whoever meets one does so: a follower, a reader, the next message, a sweep.

With a work queue, a turn that was lost before it had said anything is begun once more, by another worker. The log says
so first, in an event, so that it is never begun a third time.
"""

from __future__ import annotations

import contextlib
import secrets

from hector import telemetry
from hector.errors import LeaseLost, LostTurn, NotFound, SessionBusy, TaskClosed
from hector.model import (
    Event,
    EventKind,
    Message,
    Principal,
    Role,
    Task,
    TaskError,
    TaskState,
    session_id_of,
)
from hector.producer import LEASE, hand_over
from hector.queues.base import WorkQueue
from hector.stores.base import Clock, Lease, Outcome, Store
from hector.telemetry import Measure

WORKER_LOST = "worker_lost"


class Recovery:
    def __init__(self, store: Store, clock: Clock, queue: WorkQueue | None = None) -> None:
        self._store = store
        self._now = clock
        self._queue = queue

    def is_orphan(self, task: Task) -> bool:
        """Whether a task that is not open should have been run by now: its worker went before it could claim it."""
        return task.state is TaskState.SUBMITTED and self._now() >= task.created_at + LEASE

    async def close(self, principal: Principal, task_id: str) -> None:
        """End a turn whose worker is gone (see `end`). Silent if somebody else is doing so, or has.

        If this fails halfway, the lease stays until it runs out, and the next reader tries again.
        """
        session_id = session_id_of(task_id) or ""
        with contextlib.suppress(NotFound, SessionBusy, LostTurn, LeaseLost):
            lease = await self._store.claim(principal, session_id, task_id, lease=LEASE, nonce=secrets.token_hex(8))
            await self.end(lease)

    async def end(self, lease: Lease) -> None:
        """Fail the turn, which was lost and is ours now, keeping what it said; or have it begun once more."""
        telemetry.count(Measure.LOST_WORKERS)
        outcome = await self._salvage(lease)
        if outcome.last_event == 0 and self._queue is not None and not lease.cancel_requested:
            task = await self._store.read_task(lease.session.principal, lease.task_id)
            if not task.state.terminal:
                await self._begin_again(lease, self._queue)
                return
        with contextlib.suppress(TaskClosed, NotFound):
            await self._store.commit(lease, outcome, nonce=secrets.token_hex(8))
        await self._store.release(lease)

    async def _begin_again(self, lease: Lease, queue: WorkQueue) -> None:
        note = Event(1, EventKind.STATUS, "The worker was lost; another one begins again.", TaskState.SUBMITTED)
        lease = await self._store.append_events(lease, [note], extend=LEASE)
        await hand_over(self._store, queue, lease)

    async def _salvage(self, lease: Lease) -> Outcome:
        """The outcome of a turn whose worker is gone: failed, with what its log holds."""
        texts: list[str] = []
        last = 0
        with contextlib.suppress(NotFound):
            while (page := await self._store.read_events(lease.session.principal, lease.task_id, after=last)).events:
                texts += [event.text for event in page.events if event.kind is EventKind.MESSAGE]
                last = page.events[-1].number
        error = TaskError(WORKER_LOST, "The worker that was answering is gone. Send the message again.")
        return Outcome(TaskState.FAILED, last, Message.of(Role.AGENT, "".join(texts)) if texts else None, error=error)
