"""Copy the sessions of a store into another, whole, with everything that belongs to them: `hector store copy`."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace

from hector.errors import NotFound
from hector.follow import Follow
from hector.live import LiveLogs
from hector.model import Event, Session, Task, TaskState
from hector.recovery import Recovery
from hector.stores.base import Clock, StagedTurn, Store, system_clock

PAGE = 20
"""Turns of a session that are held in memory at once."""
AT_ONCE = 8
"""Sessions that are copied side by side."""


@dataclass(slots=True)
class Copied:
    """What came of a copy. `sessions`, with their `tasks`, were copied; `there_already` were left as they are.

    `running` are the tasks that could not be taken along, because they are being answered at this moment; `diverged`
    are the sessions that went another way in the target than in the source, and were left as they are there.
    """

    sessions: int = 0
    tasks: int = 0
    waiting: int = 0
    there_already: int = 0
    running: list[str] = field(default_factory=list)
    diverged: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        return not self.running and not self.diverged


class StoreCopy:
    """A session becomes visible in the target only whole, so a copy that was broken off is simply started again.

    Idempotency keys stay behind: no store hands them out. A turn whose worker is gone is ended in the source first, as
    any other reader would do.
    """

    def __init__(
        self,
        source: Store,
        target: Store,
        *,
        clock: Clock = system_clock,
        told: Callable[[Copied], None] = lambda copied: None,
    ) -> None:
        self._source = source
        self._target = target
        self._follow = Follow(source, LiveLogs(), Recovery(source, clock))
        self._told = told
        self._copied = Copied()

    async def run(self) -> Copied:
        cursor = None
        while True:
            page = await self._source.list_every_session(cursor=cursor)
            for start in range(0, len(page.items), AT_ONCE):
                some = map(self._session, page.items[start : start + AT_ONCE])
                for result in await asyncio.gather(*some, return_exceptions=True):
                    if result is not None:
                        raise result
                self._told(self._copied)
            if (cursor := page.next_cursor) is None:
                return self._copied

    async def _session(self, session: Session) -> None:
        try:
            there = await self._in_target(session)
            if there is not None and not await self._up_to_date(session, there):
                if not await self._is_older_copy(there):
                    self._copied.diverged.append(session.id)
                    return
                await self._target.delete_session(there.principal, there.id)
                there = None
            if there is None:
                session = await self._take_over(session)
            else:
                self._copied.there_already += 1
            await self._line_up(session, there)
        except NotFound:
            return  # it has ended or expired meanwhile

    async def _in_target(self, session: Session) -> Session | None:
        try:
            return await self._target.read_session(session.principal, session.id)
        except NotFound:
            return None

    async def _up_to_date(self, session: Session, there: Session) -> bool:
        newest = await self._source.read_history(session.principal, session.id, limit=1)
        return newest == await self._target.read_history(there.principal, there.id, limit=1)

    async def _is_older_copy(self, there: Session) -> bool:
        """Whether all that is there in the target came from the source, and is there still."""
        async for task in _tasks(self._target, there):
            try:
                origin = await self._source.read_task(there.principal, task.id)
            except NotFound:
                return False
            if task.turn and task != origin:
                return False
        return there.open_task_id is None

    async def _take_over(self, session: Session) -> Session:
        """Copy all that has ended, and create the session; as it was in the source then."""
        await self._target.unstage(session)
        count = tasks = 0
        batch: list[StagedTurn] = []
        async for task in self._ended(session):
            count = max(count, task.turn)
            tasks += 1
            batch.append(StagedTurn(task, await self._log(session, task)))
            if len(batch) == PAGE:
                await self._target.stage_turns(session, batch)
                batch = []
        # Read again: a lost turn may have been ended in between.
        session = await self._source.read_session(session.principal, session.id)
        summary = await self._source.read_summary(session.principal, session.id)
        await self._target.stage_turns(session, batch, summary=summary)
        await self._target.create_session(replace(session, turns=count, open_task_id=None, waiting=()))
        self._copied.sessions += 1
        self._copied.tasks += tasks
        return session

    async def _ended(self, session: Session) -> AsyncIterator[Task]:
        """The tasks that have ended: turns in their order, which is not always that of their ids."""
        early: dict[int, Task] = {}
        due = 1
        async for listed in _tasks(self._source, session):
            task = listed
            if not task.state.terminal:
                if task.id in session.waiting:
                    continue
                task = await self._follow.task(session.principal, task.id)
                if not task.state.terminal:
                    self._copied.running.append(task.id)
                    continue
            if not task.turn:
                yield task
                continue
            early[task.turn] = task
            while due in early:
                yield early.pop(due)
                due += 1

    async def _log(self, session: Session, task: Task) -> list[Event]:
        log: list[Event] = []
        while len(log) < task.last_event:
            page = await self._source.read_events(session.principal, task.id, after=len(log))
            if not page.events:
                break
            log += page.events
        return log

    async def _line_up(self, session: Session, there: Session | None) -> None:
        """Let what waits in the source wait in the target, too."""
        waiting = set(there.waiting if there else ())
        for task_id in session.waiting:
            if task_id in waiting:
                continue
            task = await self._source.read_task(session.principal, task_id)
            if task.state is not TaskState.SUBMITTED:
                continue
            submitted = await self._target.submit(task, nonce=secrets.token_hex(8))
            if submitted.task.state is TaskState.SUBMITTED:
                most = len(session.waiting) + len(waiting)
                await self._target.line_up(session.principal, task_id, most=most)
                self._copied.waiting += 1


async def _tasks(store: Store, session: Session) -> AsyncIterator[Task]:
    cursor = None
    while True:
        page = await store.list_tasks(session.principal, session.id, oldest_first=True, cursor=cursor, limit=PAGE)
        for task in page.items:
            yield task
        if (cursor := page.next_cursor) is None:
            return
