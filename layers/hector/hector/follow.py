"""Follow a task's log from a cursor: live, replayed or joined, with the same events and exactly one end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import replace

from hector.errors import NotFound
from hector.live import LiveLogs
from hector.model import Event, EventKind, Millis, Principal, Task, TaskError, TaskState, terminal_event
from hector.recovery import WORKER_LOST, Recovery
from hector.stores.base import Store

_FIRST_POLL_SECONDS = 0.05
_LONGEST_POLL_SECONDS = 0.3
_PAGE = 1000
_NOTHING = Event(0, EventKind.RESET)
_WAIT: Millis = 1_000
"""For so long a store that can be told of new events waits for them; that it has, shows in the time that it took."""


class Follow:
    def __init__(self, store: Store, live: LiveLogs, recovery: Recovery) -> None:
        self._store = store
        self._live = live
        self._recovery = recovery

    async def task(self, principal: Principal, task_id: str) -> Task:
        """The task; one whose worker is gone is ended first. Raises NotFound."""
        task, _ = await self._looked_after(principal, task_id, limit=1)
        return task

    async def task_and_note(self, principal: Principal, task_id: str) -> tuple[Task, Event | None]:
        """The task as above, and the newest note about its progress while it has not ended. Raises NotFound.

        No read more than for the task alone. Of a stored log that is longer than a page, no note is known: it may be
        an old one.
        """
        task, events = await self._looked_after(principal, task_id, limit=_PAGE)
        if task.state.terminal:
            return task, None
        newest = next((event for event in reversed(events) if event.kind is EventKind.STATUS), None)
        return task, newest if newest is not None and newest.state is task.state else None

    async def _looked_after(self, principal: Principal, task_id: str, limit: int) -> tuple[Task, Sequence[Event]]:
        """The task, and its log if it has not ended; nothing of a stored one that has `limit` events or more."""
        task = await self._store.read_task(principal, task_id)
        if task.state.terminal:
            return task, ()
        if (log := self._live.get(task_id)) is not None:
            return task, log.events
        page = await self._store.read_events(principal, task_id, after=0, limit=limit)
        if await self._recovery.look_after(principal, task, page):
            task = await self._store.read_task(principal, task_id)
        return task, page.events if len(page.events) < limit else ()

    async def events(
        self, principal: Principal, task: Task, *, after: int = 0
    ) -> AsyncGenerator[Sequence[Event], None]:
        """The events after number `after`, in batches as they come; the last one ends with the terminal event.

        `task` is as the principal has read or started it. A reader who has seen the terminal event gets nothing. One
        whose cursor lies beyond what a crash left gets a `reset` first. A task that ends when its session may live no
        longer is told to its end. The task of a session that is erased, or expires, before that ends as canceled, and
        one that is taken back, since it could not be begun, as failed.
        """
        cursor = after
        # Of a turn that was begun once more, nothing is left that a reader of its first beginning may have seen.
        unsure = after > 0 and self._recovery.begins_again
        log = self._live.get(task.id)
        if log is not None:
            while batch := await log.after(cursor):
                if unsure and self._recovery.begun_again(log.events[0]):
                    batch, unsure = [_NOTHING], False
                yield batch
                cursor, unsure = batch[-1].number, False
            task = log.task or task
        try:
            loop, delay = asyncio.get_running_loop(), _FIRST_POLL_SECONDS
            while True:
                if task.state.terminal and cursor >= task.last_event:
                    if not (unsure and await self._begun_again(principal, task.id)):
                        break
                    yield [_NOTHING]
                    cursor, unsure = 0, False
                asked = loop.time()
                page = await self._store.read_events(principal, task.id, after=cursor, wait=_WAIT)
                if page.events:
                    again = unsure and await self._begun_again(principal, task.id)
                    batch = [_NOTHING] if again else page.events
                    yield batch
                    cursor, unsure = batch[-1].number, False
                    delay = _FIRST_POLL_SECONDS
                elif task.state.terminal:
                    break
                else:
                    if page.lost or not (page.open or page.waiting):
                        task = await self.task(principal, task.id)
                    if not task.state.terminal:
                        await asyncio.sleep(max(0.0, asked + delay - loop.time()))
                        delay = min(delay * 1.5, _LONGEST_POLL_SECONDS)
        except NotFound:
            with suppress(NotFound):
                while not task.state.terminal or cursor < task.last_event:
                    task, rest = await self._store.read_past(principal, task.id, after=cursor)
                    if not rest:
                        break
                    yield rest
                    cursor = rest[-1].number
            if not task.state.terminal or cursor < task.last_event:
                task = replace(await self._gone(principal, task), last_event=cursor)
        if ending := _ending(task, cursor, saw_it=cursor == after):
            yield ending

    async def ended(self, principal: Principal, task: Task) -> Task:
        """The task once it has ended, as it was when the principal read or started it before."""
        log = self._live.get(task.id)
        if log is not None:
            ended = await log.ended()
            if ended is not None:
                return ended
        try:
            async for _ in self.events(principal, task):
                pass
            return await self._store.read_task(principal, task.id)
        except NotFound:
            with suppress(NotFound):
                return (await self._store.read_past(principal, task.id, after=0, limit=1)).task
            return await self._gone(principal, task)

    async def _begun_again(self, principal: Principal, task_id: str) -> bool:
        page = await self._store.read_events(principal, task_id, after=0, limit=1)
        return bool(page.events) and self._recovery.begun_again(page.events[0])

    async def _gone(self, principal: Principal, task: Task) -> Task:
        """The end of a task that is there no more."""
        try:
            await self._store.read_session(principal, task.session_id)
        except NotFound:
            error = TaskError("session_ended", "The session was ended, and erased, while the task was running.")
            return replace(task, state=TaskState.CANCELED, error=error)
        error = TaskError("not_begun", "The message could not be begun, and is not kept. Send it again.")
        return replace(task, state=TaskState.FAILED, error=error)

    @staticmethod
    def seen_all(task: Task, cursor: int) -> bool:
        """Whether a reader at this cursor has seen the task end, so that nothing is left to tell."""
        return task.state.terminal and not _ending(task, cursor)


def _ending(task: Task, cursor: int, *, saw_it: bool = True) -> list[Event]:
    """The terminal event, if the reader has not seen it; after a `reset` if it has seen what a crash took back.

    After a crash, a cursor with the terminal event's number may mean an event that was lost: so it is told once more.
    `saw_it` is False if that number was surely another event's.
    """
    terminal = terminal_event(task)
    if cursor <= task.last_event:
        return [terminal]
    crashed = task.error is not None and task.error.code == WORKER_LOST
    if cursor == terminal.number and saw_it and not crashed:
        return []
    return [Event(task.last_event, EventKind.RESET), terminal]
