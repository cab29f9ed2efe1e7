"""Look after the tasks that a work queue names: run them, end them, or come back to them later."""

from __future__ import annotations

import logging
import secrets
from contextlib import suppress

from hector.errors import LostTurn, NotFound, SessionBusy
from hector.log_writer import LEASE
from hector.model import Principal, Task, session_id_of
from hector.patience import gave_up
from hector.queues.base import WorkQueue
from hector.recovery import Recovery
from hector.stores.base import Clock, Lease, Store
from hector.turns import Turns

logger = logging.getLogger(__name__)

_ATTEMPTS = 3
_SOONEST_SECONDS = 1.0
_LATEST_SECONDS = 10.0
_BUSY_SECONDS = LEASE / 1000 + 5


class Worker:
    """Ids come late, twice, or for tasks that ended long ago: what is to be done is in the store."""

    def __init__(self, store: Store, recovery: Recovery, turns: Turns, queue: WorkQueue, clock: Clock) -> None:
        self._store = store
        self._recovery = recovery
        self._turns = turns
        self._queue = queue
        self._now = clock

    async def work(self, task_id: str, *, seconds_left: float | None = None) -> None:
        """Returns when the task has ended, or somebody else will look after it.

        `seconds_left`: how long this process may go on. Raises StoreUnavailable, QueueUnavailable, and NotFound for an
        agent that this process does not have.
        """
        session_id = session_id_of(task_id)
        if session_id is None:
            logger.error("the work queue holds %r, which is no task", task_id[:100])
            return
        try:
            principal = await self._store.read_owner(session_id)
        except NotFound:
            return
        try:
            task = await self._store.read_task(principal, task_id)
        except NotFound:
            await self._take_out_of_line(principal, session_id, task_id)
            return
        if task.state.terminal:
            await self._take_out_of_line(principal, session_id, task_id)
            return
        served = self._turns.agent(task.agent_id)
        if await gave_up(self._store, principal, task, served, self._now()):
            return
        try:
            lease = await self._claim(principal, task)
            if lease is not None:
                await self._turns.go_on(lease, seconds_left=seconds_left)
        except SessionBusy as busy:
            await self._come_back(task, busy)
        except NotFound:
            return

    async def _claim(self, principal: Principal, task: Task) -> Lease | None:
        """The lease; None if the task's own worker was lost, which is seen to. Raises SessionBusy, NotFound."""
        nonce, busy = secrets.token_hex(8), task.id
        for _ in range(_ATTEMPTS):
            try:
                return await self._store.claim(
                    principal, task.session_id, task.id, lease=LEASE, nonce=nonce, takeover=False
                )
            except LostTurn as lost:
                busy = lost.task_id
                if not await self._recovery.close(principal, busy):
                    break
                if busy == task.id:
                    return None
        raise SessionBusy(busy)

    async def _take_out_of_line(self, principal: Principal, session_id: str, task_id: str) -> None:
        """A task that has ended, or is gone, and is still next in line: whoever saw to it could not do the rest."""
        with suppress(NotFound, SessionBusy, LostTurn):
            if task_id in (await self._store.read_session(principal, session_id)).waiting:
                nonce = secrets.token_hex(8)
                lease = await self._store.claim(
                    principal, session_id, task_id, lease=LEASE, nonce=nonce, takeover=False
                )
                await self._store.release(lease)

    async def _come_back(self, task: Task, busy: SessionBusy) -> None:
        """Look again later. Another worker has the task now, and may be lost; or it is another one's turn."""
        if busy.task_id == task.id:
            await self._queue.send(task.id, delay=_BUSY_SECONDS)
            return
        waited = (self._now() - task.created_at) / 1000
        await self._queue.send(task.id, delay=min(max(waited / 10, _SOONEST_SECONDS), _LATEST_SECONDS))
