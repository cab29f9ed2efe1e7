"""What nobody else looks after: turns whose worker is gone, messages that nobody keeps in line, expired sessions."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass

from hector.errors import HectorError, QueueUnavailable
from hector.recovery import Recovery
from hector.stores.base import Store, Unfinished
from hector.turns import Turns

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 30.0
SIDE_BY_SIDE = 10
"""Sessions that are looked after at the same time."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep has done: turns ended as lost, sessions whose line is kept again, expired sessions erased."""

    closed: int = 0
    taken_up: int = 0
    erased: int = 0


class Sweep:
    def __init__(self, store: Store, recovery: Recovery, turns: Turns) -> None:
        self._store = store
        self._recovery = recovery
        self._turns = turns

    async def run(self, *, seconds_left: float | None = None) -> Swept:
        """One sweep over all sessions of everybody; several at once do no harm.

        `seconds_left`: how long this process may go on. Raises StoreUnavailable; and QueueUnavailable, after everything
        that needs no queue is done.
        """
        closed = taken_up = 0
        away: QueueUnavailable | None = None
        cursor = None
        while True:
            page = await self._store.list_unfinished(cursor=cursor)
            for first in range(0, len(page.items), SIDE_BY_SIDE):
                some = page.items[first : first + SIDE_BY_SIDE]
                looking = (self._look_after(unfinished, seconds_left) for unfinished in some)
                for done in await asyncio.gather(*looking, return_exceptions=True):
                    if isinstance(done, QueueUnavailable):
                        away = done
                    elif isinstance(done, BaseException):
                        raise done
                    else:
                        taken_up += done
                closed += sum(unfinished.lost_task_id is not None for unfinished in some)
            if (cursor := page.next_cursor) is None:
                break
        swept = Swept(closed, taken_up, await self._store.clean_up())
        if away is not None:
            raise away
        return swept

    async def _look_after(self, unfinished: Unfinished, seconds_left: float | None) -> bool:
        """Whether the session's line is kept again. Raises StoreUnavailable, QueueUnavailable."""
        session = unfinished.session
        if unfinished.lost_task_id is not None:
            await self._recovery.close(session.principal, unfinished.lost_task_id)
        if not session.waiting or session.agent_id not in self._turns.agents:
            return False
        await self._turns.take_up(session, seconds_left=seconds_left)
        return True

    async def for_ever(self, interval: float = INTERVAL_SECONDS) -> None:
        """A sweep now and then; servers that share a store do not sweep in step."""
        while True:
            await asyncio.sleep(interval * random.uniform(0.5, 1.5))
            try:
                swept = await self.run()
            except HectorError as error:
                logger.warning("could not sweep: %s", error)
            else:
                if swept != Swept():
                    logger.info("%s", swept)
