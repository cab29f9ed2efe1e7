"""End the turns whose workers are gone. Whoever meets one does so: a follower, a reader, the next message, a sweep.

With a work queue, a turn that was lost before it had said anything is begun once more, by another worker. The log says
so first, in an event, so that it is never begun a third time.
"""

from __future__ import annotations

import contextlib
import logging
import secrets

from hector import telemetry
from hector.errors import LeaseLost, LostTurn, NotFound, QueueUnavailable, SessionBusy, TaskClosed
from hector.live import LiveLogs
from hector.log_writer import LEASE
from hector.model import Event, EventKind, Principal, Task, TaskError, TaskState, session_id_of
from hector.producer import HAND_OVER_DELAY
from hector.queues.base import WorkQueue
from hector.stores.base import Clock, Lease, LogPage, Store
from hector.stores.log import ended_early, read_log
from hector.telemetry import Measure

logger = logging.getLogger(__name__)

WORKER_LOST = "worker_lost"
_AGAIN = Event(1, EventKind.STATUS, "The worker was lost; another one begins again.", TaskState.SUBMITTED)


class Recovery:
    def __init__(self, store: Store, live: LiveLogs, clock: Clock, queue: WorkQueue | None = None) -> None:
        self._store = store
        self._live = live
        self._now = clock
        self._queue = queue

    @property
    def begins_again(self) -> bool:
        """Whether turns may begin once more at all."""
        return self._queue is not None

    @staticmethod
    def begun_again(first: Event) -> bool:
        """Whether a log, by its first event, is that of a turn that was begun once more."""
        return first == _AGAIN

    async def look_after(self, principal: Principal, task: Task, page: LogPage) -> bool:
        """Whether something was done about a task that had not ended, though nobody is at work on it.

        `page`: the beginning of its log.
        """
        if not page.lost:
            if page.open or page.waiting or task.state is not TaskState.SUBMITTED:
                return False
            if self._now() < task.created_at + LEASE:
                return False
            # Its worker went before it could claim it.
        return await self.close(principal, task.id)

    async def close(self, principal: Principal, task_id: str) -> bool:
        """Fail a turn whose worker is gone, keeping what it said; or have it begun once more.

        False, and nothing is done, if its worker is here, and alive: it renews the lease in a moment, or learns that
        another one has taken it. Silent if somebody else is closing it, or has. If this fails halfway, the lease stays
        until it runs out, and the next reader tries again.
        """
        if self._live.holds(task_id):
            return False
        session_id = session_id_of(task_id) or ""
        with contextlib.suppress(NotFound, SessionBusy, LostTurn, LeaseLost):
            lease = await self._store.claim(principal, session_id, task_id, lease=LEASE, nonce=secrets.token_hex(8))
            await self._end(lease)
        return True

    async def _end(self, lease: Lease) -> None:
        telemetry.count(Measure.LOST_WORKERS)
        with contextlib.suppress(TaskClosed, NotFound):
            principal, task_id = lease.session.principal, lease.task_id
            log = await read_log(self._store, principal, task_id)
            if not log and self._queue is not None and not lease.cancel_requested:
                task = await self._store.read_task(principal, task_id)
                if not task.state.terminal:
                    try:
                        await self._begin_again(lease, self._queue)
                        return
                    except QueueUnavailable as away:
                        logger.error("task %s cannot be begun again: %s", task_id, away)
                        log = await read_log(self._store, principal, task_id)
            error = TaskError(WORKER_LOST, "The worker that was answering is gone. Send the message again.")
            outcome = ended_early(TaskState.FAILED, log, error)
            await self._store.commit(lease, outcome, nonce=secrets.token_hex(8))
        await self._store.release(lease)

    async def _begin_again(self, lease: Lease, queue: WorkQueue) -> None:
        lease = await self._store.append_events(lease, [_AGAIN], extend=LEASE)
        await queue.send(lease.task_id, delay=HAND_OVER_DELAY)
        await self._store.release(lease, next_in_line=True)
