"""Copy the sessions of a store into another, whole, with everything that belongs to them: `hector store copy`."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace

from hector.errors import LeaseLost, LostTurn, NotFound, SessionBusy
from hector.follow import Follow
from hector.live import LiveLogs
from hector.log_writer import LEASE
from hector.model import Event, Session, Summary, Task, TaskState
from hector.recovery import Recovery
from hector.stores.base import Clock, StagedTurn, Store, system_clock
from hector.stores.log import read_log

PAGE = 20
"""Turns of a session that are held in memory at once, and events of a turn that are written at once."""
AT_ONCE = 8
"""Sessions that are copied side by side."""
_COPYING = "hector store copy"


@dataclass(slots=True)
class Copied:
    """What came of a copy. `sessions`, with their `tasks`, were copied; `there_already` were left as they are.

    `running` are the tasks that could not be taken along, because they are being answered at this moment; `diverged`
    are the sessions that went another way in the target than in the source, and were left as they are there; `broken`
    are those that lack turns in the source, or were not whole when they were read again in the target, and were erased
    there.
    """

    sessions: int = 0
    tasks: int = 0
    waiting: int = 0
    there_already: int = 0
    running: list[str] = field(default_factory=list)
    diverged: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        return not (self.running or self.diverged or self.broken)


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
        live = LiveLogs()
        self._follow = Follow(source, live, Recovery(source, live, clock))
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
            if there is not None and not await self._can_go_on(session, there):
                if not await self._is_older_copy(there):
                    self._copied.diverged.append(session.id)
                    return
                await self._target.delete_session(there.principal, there.id)
                there = None
            if there is not None:
                self._copied.there_already += 1
                await self._line_up(session, there)
            elif taken := await self._take_over(session):
                await self._line_up(taken, None)
        except NotFound:
            return  # it has ended or expired meanwhile

    async def _in_target(self, session: Session) -> Session | None:
        try:
            return await self._target.read_session(session.principal, session.id)
        except NotFound:
            return None

    async def _can_go_on(self, session: Session, there: Session) -> bool:
        """Whether all that has ended is there, and what waits can join those that wait there already."""
        newest = await self._source.read_history(session.principal, session.id, limit=1)
        if newest != await self._target.read_history(there.principal, there.id, limit=1):
            return False
        behind = bool(there.waiting) and there.waiting[0] != next(iter(session.waiting), None)
        return not (behind and await self._handed_over(session))

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

    async def _take_over(self, session: Session) -> Session | None:
        """Copy all that has ended, and create the session; as it was in the source then. None if it is not whole."""
        await self._target.unstage(session)
        count = 0
        staged: dict[str, bytes] = {}
        batch: list[StagedTurn] = []
        async for task in self._ended(session):
            count = max(count, task.turn)
            batch.append(StagedTurn(task, await _log(self._source, session, task)))
            staged[task.id] = _fingerprint(*batch[-1])
            if len(batch) == PAGE:
                await self._target.stage_turns(session, batch)
                batch = []
        if count < session.turns:  # the source itself is not whole
            self._copied.broken.append(session.id)
            await self._target.unstage(session)
            return None
        # Read again: a lost turn may have been ended in between.
        session = await self._source.read_session(session.principal, session.id)
        summary = await self._source.read_summary(session.principal, session.id)
        await self._target.stage_turns(session, batch, summary=summary)
        await self._target.create_session(replace(session, turns=count, open_task_id=None, waiting=()))
        if not await self._has_arrived(session, staged, count, summary):
            self._copied.broken.append(session.id)
            there = await self._in_target(session)
            if there is not None and await self._is_older_copy(there):
                await self._target.delete_session(there.principal, there.id)
            return None
        self._copied.sessions += 1
        self._copied.tasks += len(staged)
        return session

    async def _has_arrived(
        self, session: Session, staged: dict[str, bytes], count: int, summary: Summary | None
    ) -> bool:
        """Whether the target has these tasks with their logs, so many turns, and the summary."""
        try:
            arrived = {
                task.id: _fingerprint(task, await _log(self._target, session, task))
                async for task in _tasks(self._target, session)
            }
            newest = [task.turn for task in await self._target.read_history(session.principal, session.id, limit=PAGE)]
            last = newest[-1] if newest else 0
            told = await self._target.read_summary(session.principal, session.id)
        except NotFound:
            await self._source.read_session(session.principal, session.id)  # if it has expired, so has its copy
            return False
        return (
            staged.items() <= arrived.items()
            and last >= count
            and newest == [*range(max(0, last - PAGE) + 1, last + 1)]
            and (told == summary or bool(told and (summary is None or told.through > summary.through)))
        )

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

    async def _line_up(self, session: Session, there: Session | None) -> None:
        """Let what waits in the source wait in the target, too."""
        waiting = there.waiting if there else ()
        handed_over = await self._handed_over(session)
        for task_id in session.waiting:
            if task_id in waiting and task_id != handed_over:
                continue
            task = await self._source.read_task(session.principal, task_id)
            if task.state is not TaskState.SUBMITTED:
                continue
            submitted = await self._target.submit(task, nonce=secrets.token_hex(8))
            if submitted.task.state is not TaskState.SUBMITTED:
                continue
            if task_id != handed_over:
                await self._target.line_up(session.principal, task_id, most=len(session.waiting) + len(waiting))
            elif not await self._hand_over(session, task_id):
                self._copied.diverged.append(session.id)
                return
            self._copied.waiting += task_id not in waiting

    async def _handed_over(self, session: Session) -> str | None:
        """The task that has begun, and waits until somebody goes on with it: that can only be the first."""
        for task_id in session.waiting[:1]:
            if (await self._source.read_events(session.principal, task_id, after=0, limit=1)).events:
                return task_id
        return None

    async def _hand_over(self, session: Session, task_id: str) -> bool:
        """Repeat in the target how it came to wait in the source: its turn began, said something, and was given back.

        The nonce is the same every time: what was broken off in here is gone on with, lease or no lease. False if
        somebody in the target has gone on with it, or with another turn.
        """
        principal = session.principal
        log = await read_log(self._source, principal, task_id)
        there = await read_log(self._target, principal, task_id)
        if there != log[: len(there)]:
            return False
        if there == log and (await self._target.read_events(principal, task_id, after=len(log))).waiting:
            return True
        try:
            lease = await self._target.claim(principal, session.id, task_id, lease=LEASE, nonce=_COPYING)
            for start in range(len(there), len(log), PAGE):
                lease = await self._target.append_events(lease, log[start : start + PAGE], extend=LEASE)
        except (SessionBusy, LostTurn, LeaseLost):
            return False
        await self._target.release(lease, next_in_line=True)
        return True


async def _log(store: Store, session: Session, task: Task) -> list[Event]:
    log: list[Event] = []
    while len(log) < task.last_event:
        page = await store.read_events(session.principal, task.id, after=len(log))
        if not page.events:
            break
        log += page.events
    return log


def _fingerprint(task: Task, events: Sequence[Event]) -> bytes:
    return hashlib.sha256(repr((task, [*events])).encode()).digest()


async def _tasks(store: Store, session: Session) -> AsyncIterator[Task]:
    cursor = None
    while True:
        page = await store.list_tasks(session.principal, session.id, oldest_first=True, cursor=cursor, limit=PAGE)
        for task in page.items:
            yield task
        if (cursor := page.next_cursor) is None:
            return
