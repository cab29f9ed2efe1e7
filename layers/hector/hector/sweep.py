"""What nobody else looks after: turns whose worker is gone, messages that nobody keeps in line, expired sessions."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from contextlib import suppress
from dataclasses import dataclass

from hector.concurrency import jitter
from hector.errors import HectorError, NotFound
from hector.model import Millis, Session, TaskError, TaskState
from hector.recovery import Recovery
from hector.stores.base import Clock, Store, Unfinished
from hector.stores.log import end_waiting
from hector.turns import Turns

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 30.0
SIDE_BY_SIDE = 10
"""Sessions that are looked after at the same time."""
ORPHANED_AFTER: Millis = 3_600_000
"""So long a message waits for an agent that is not configured here: another server may have it still."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep has done: turns ended as lost, sessions whose line is kept again, expired sessions erased."""

    closed: int = 0
    taken_up: int = 0
    erased: int = 0


class Sweep:
    def __init__(self, store: Store, recovery: Recovery, turns: Turns, clock: Clock) -> None:
        self._store = store
        self._recovery = recovery
        self._turns = turns
        self._now = clock

    async def run(self, *, seconds_left: float | None = None) -> Swept:
        """One sweep over all sessions of everybody; several at once do no harm.

        `seconds_left`: how long this process may go on; what is left then is for the next sweep. Raises
        StoreUnavailable; and what went wrong with single sessions, one of it, after all the others are seen to.
        """
        ends_at = math.inf if seconds_left is None else time.monotonic() + seconds_left
        closed = taken_up = 0
        wrong: Exception | None = None
        cursor = None
        while time.monotonic() < ends_at:
            page = await self._store.list_unfinished(cursor=cursor)
            for first in range(0, len(page.items), SIDE_BY_SIDE):
                some = page.items[first : first + SIDE_BY_SIDE]
                left = None if seconds_left is None else ends_at - time.monotonic()
                looking = (self._look_after(unfinished, left) for unfinished in some)
                for unfinished, done in zip(some, await asyncio.gather(*looking, return_exceptions=True), strict=True):
                    if isinstance(done, Exception):
                        logger.error("session %s: %r", unfinished.session.id, done)
                        wrong = done
                    elif isinstance(done, Swept):
                        closed, taken_up = closed + done.closed, taken_up + done.taken_up
            if (cursor := page.next_cursor) is None:
                break
        swept = Swept(closed, taken_up, await self._store.clean_up())
        if wrong is not None:
            raise wrong
        return swept

    async def _look_after(self, unfinished: Unfinished, seconds_left: float | None) -> Swept:
        session, lost = unfinished.session, unfinished.lost_task_id
        closed = lost is not None and await self._recovery.close(session.principal, lost)
        taken_up = False
        if session.waiting and session.agent_id not in self._turns.agents:
            await self._end_orphans(session)
        elif session.waiting:
            taken_up = await self._turns.take_up(session, seconds_left=seconds_left)
        return Swept(int(closed), int(taken_up))

    async def _end_orphans(self, session: Session) -> None:
        """End what waits for an agent that no configuration has had for so long that it will not come back."""
        for task_id in session.waiting:
            with suppress(NotFound):
                task = await self._store.read_task(session.principal, task_id)
                if self._now() >= task.created_at + ORPHANED_AFTER:
                    gone = TaskError("agent_gone", f"There is no agent {session.agent_id!r} any more.")
                    await end_waiting(self._store, session.principal, task_id, TaskState.FAILED, gone)

    async def for_ever(self, interval: float = INTERVAL_SECONDS) -> None:
        """A sweep now and then; servers that share a store do not sweep in step."""
        while True:
            await asyncio.sleep(jitter(interval / 2, interval * 1.5))
            try:
                swept = await self.run()
            except HectorError as error:
                logger.warning("could not sweep: %s", error)
            except Exception:
                logger.exception("could not sweep")
            else:
                if swept != Swept():
                    logger.info("%s", swept)
