"""End the tasks whose workers are gone. Whoever meets one does so: a follower, a reader, the next message."""

from __future__ import annotations

import contextlib
import secrets

from hector import telemetry
from hector.errors import LeaseLost, LostTurn, NotFound, SessionBusy, TaskClosed
from hector.model import EventKind, Message, Principal, Role, Task, TaskError, TaskState, session_id_of
from hector.producer import LEASE
from hector.stores.base import Clock, Outcome, Store
from hector.telemetry import Measure

WORKER_LOST = "worker_lost"


class Recovery:
    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._now = clock

    def is_orphan(self, task: Task) -> bool:
        """Whether a task that is not open should have been run by now: its worker went before it could claim it."""
        return task.state is TaskState.SUBMITTED and self._now() >= task.created_at + LEASE

    async def close(self, principal: Principal, task_id: str) -> None:
        """Fail a task whose worker is gone, keeping what it said. Silent if somebody else is doing so, or has.

        If this fails halfway, the lease stays until it runs out, and the next reader tries again.
        """
        session_id = session_id_of(task_id) or ""
        with contextlib.suppress(NotFound, SessionBusy, LostTurn, LeaseLost):
            lease = await self._store.claim(principal, session_id, task_id, lease=LEASE, nonce=secrets.token_hex(8))
            outcome = await self._salvage(principal, task_id)
            with contextlib.suppress(TaskClosed, NotFound):
                await self._store.commit(lease, outcome, nonce=secrets.token_hex(8))
                telemetry.count(Measure.LOST_WORKERS)
            await self._store.release(lease)

    async def _salvage(self, principal: Principal, task_id: str) -> Outcome:
        """The outcome of a turn whose worker is gone: failed, with what its log holds."""
        texts: list[str] = []
        last = 0
        with contextlib.suppress(NotFound):
            while (page := await self._store.read_events(principal, task_id, after=last)).events:
                texts += [event.text for event in page.events if event.kind is EventKind.MESSAGE]
                last = page.events[-1].number
        error = TaskError(WORKER_LOST, "The worker that was answering is gone. Send the message again.")
        return Outcome(TaskState.FAILED, last, Message.of(Role.AGENT, "".join(texts)) if texts else None, error=error)
