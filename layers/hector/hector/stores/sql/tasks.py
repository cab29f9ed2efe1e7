"""Tasks as readers see them: history, listings, the events of a log, summaries.

The hot record is read first: what is over by then is complete in what is read afterwards.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, and_, false, select

from hector.errors import NotFound
from hector.model import Event, Millis, Principal, Summary, Task, TaskState, session_id_of, working
from hector.stores.base import LogPage, Page, PastTask
from hector.stores.cursors import check_tasks_cursor
from hector.stores.record import Hot
from hector.stores.sql.rows import events_of, task_of
from hector.stores.sql.sessions import Sessions, read_hot
from hector.stores.sql.statements import task_row
from hector.stores.sql.tables import events, summaries, tasks


class Tasks(Sessions):
    async def read_history(self, principal: Principal, session_id: str, *, limit: int) -> list[Task]:
        query = select(tasks).where(tasks.c.session_id == session_id, tasks.c.turn > 0)
        newest = query.order_by(tasks.c.turn.desc()).limit(limit)

        def read(connection: Connection) -> list[Task]:
            self._session(connection, principal, session_id)
            return [task_of(row) for row in reversed(connection.execute(newest).all())]

        return await self._database.read(read)

    async def read_task(self, principal: Principal, task_id: str) -> Task:
        def read(connection: Connection) -> Task:
            hot = self._session_of_task(connection, principal, task_id)
            return _seen(task_of(task_row(connection, task_id)), hot)

        return await self._database.read(read)

    async def list_tasks(
        self,
        principal: Principal,
        session_id: str,
        *,
        state: TaskState | None = None,
        oldest_first: bool = False,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Task]:
        query = select(tasks).where(tasks.c.session_id == session_id)
        query = query.order_by(tasks.c.id if oldest_first else tasks.c.id.desc()).limit(limit + 1)

        def read(connection: Connection) -> Page[Task]:
            hot = self._session(connection, principal, session_id)
            wanted = query if state is None else query.where(_in_state(state, hot))
            if cursor is not None:
                last = check_tasks_cursor(cursor, session_id)
                wanted = wanted.where(tasks.c.id > last if oldest_first else tasks.c.id < last)
            found = [_seen(task_of(row), hot) for row in connection.execute(wanted)]
            return Page(found[:limit], found[limit - 1].id if len(found) > limit else None)

        return await self._database.read(read)

    async def read_events(
        self, principal: Principal, task_id: str, *, after: int, limit: int = 1000, wait: Millis = 0
    ) -> LogPage:
        def read(connection: Connection) -> LogPage:
            hot = self._session_of_task(connection, principal, task_id)
            task_row(connection, task_id)
            found = _log(connection, task_id, after, limit)
            is_open = hot.open_task == task_id
            lost = is_open and hot.lease_until <= self._now()
            return LogPage(found, is_open, lost, waiting=task_id in hot.waiting)

        return await self._database.read(read)

    async def read_past(self, principal: Principal, task_id: str, *, after: int, limit: int = 1000) -> PastTask:
        def read(connection: Connection) -> PastTask:
            session_id = session_id_of(task_id)
            hot = read_hot(connection, session_id) if session_id else None
            if hot is None or hot.session.principal != principal:
                raise NotFound.task(task_id)
            task = task_of(task_row(connection, task_id))
            if not task.state.terminal:
                raise NotFound.task(task_id)
            return PastTask(task, _log(connection, task_id, after, limit))

        return await self._database.read(read)

    async def read_summary(self, principal: Principal, session_id: str) -> Summary | None:
        query = select(summaries).where(summaries.c.session_id == session_id)

        def read(connection: Connection) -> Summary | None:
            self._session(connection, principal, session_id)
            row = connection.execute(query).first()
            return None if row is None else Summary(row.text, row.through)

        return await self._database.read(read)


def _log(connection: Connection, task_id: str, after: int, limit: int) -> list[Event]:
    query = (
        select(events.c.first, events.c.entries)
        .where(events.c.session_id == session_id_of(task_id), events.c.task_id == task_id, events.c.last > after)
        .order_by(events.c.last)
        .limit(limit)
    )
    found: list[Event] = []
    for row in connection.execute(query):
        found += [event for event in events_of(row) if event.number > after]
        if len(found) >= limit:
            break
    return found[:limit]


def _seen(task: Task, hot: Hot) -> Task:
    return working(task) if hot.open_task == task.id else task


def _in_state(state: TaskState, hot: Hot) -> ColumnElement[bool]:
    """A task is recorded as SUBMITTED until it ends; that it is WORKING, the hot record says."""
    submitted = tasks.c.state == TaskState.SUBMITTED.value
    is_open = false() if hot.open_task is None else tasks.c.id == hot.open_task
    match state:
        case TaskState.WORKING:
            return and_(submitted, is_open)
        case TaskState.SUBMITTED:
            return and_(submitted, ~is_open)
        case _:
            return tasks.c.state == state.value
