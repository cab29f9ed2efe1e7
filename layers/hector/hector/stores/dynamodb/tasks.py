"""Tasks as readers see them: history, listings, the events of a log."""

from __future__ import annotations

from hector.concurrency import side_by_side
from hector.errors import NotFound
from hector.model import Event, Millis, Principal, Task, TaskState, session_id_of, working
from hector.stores.base import LogPage, Page, PastTask
from hector.stores.cursors import check_tasks_cursor
from hector.stores.dynamodb import items
from hector.stores.dynamodb.rows import Row
from hector.stores.dynamodb.sessions import Sessions

_MORE = 3
"""Rows read beyond the wanted turns: tasks that wait, or were canceled while they did, are rows too."""


class Tasks(Sessions):
    async def read_history(self, principal: Principal, session_id: str, *, limit: int) -> list[Task]:
        hot, rows = await side_by_side(self._hot(principal, session_id), self._newest_tasks(session_id, limit + _MORE))
        turns = _last_turns(rows, limit)
        if not _complete(turns, limit, hot["turns"]):
            turns = await self._search_history(session_id, limit, hot["turns"])
        return await self._tasks(turns)

    async def read_task(self, principal: Principal, task_id: str) -> Task:
        # The hot record first: a task that is neither open then nor ended afterwards is really waiting.
        hot = await self._hot_of_task(principal, task_id)
        return _seen(await self._task(task_id), hot)

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
        hot = await self._hot(principal, session_id)
        first, last, seen = items.TASKS, items.TASKS_END, ""
        if cursor is not None:
            seen = items.task_key(check_tasks_cursor(cursor, session_id))[1]
            first, last = (seen, last) if oldest_first else (first, seen)
        found: list[Row] = []
        async for rows in self._table.query(
            session_id, first=first, last=last, newest_first=not oldest_first, page=limit + 2
        ):
            found += [row for row in rows if row["sk"] != seen and state in (None, _state(row, hot))]
            if len(found) > limit:
                break
        tasks = [_seen(task, hot) for task in await self._tasks(found[:limit])]
        return Page(tasks, tasks[-1].id if len(found) > limit else None)

    async def read_events(
        self, principal: Principal, task_id: str, *, after: int, limit: int = 1000, wait: Millis = 0
    ) -> LogPage:
        # The hot record first: if the turn is over then, the log as it is read afterwards is complete.
        hot = await self._hot_of_task(principal, task_id)
        if items.open_task_id(hot) == task_id:
            events = await self._events(task_id, after, limit)
            return LogPage(events, open=True, lost=hot["lease_until"] <= self._now())
        _, events = await self._closed_log(task_id, after, limit)
        return LogPage(events, open=False, lost=False, waiting=task_id in items.waiting_ids(hot))

    async def read_past(self, principal: Principal, task_id: str, *, after: int, limit: int = 1000) -> PastTask:
        session_id = session_id_of(task_id)
        hot = await self._table.get(items.hot_key(session_id)) if session_id else None
        if hot is None or hot["owner_key"] != items.owner_key(principal):
            raise NotFound.task(task_id)
        row, events = await self._closed_log(task_id, after, limit)
        if not TaskState(row["task_state"]).terminal:
            raise NotFound.task(task_id)
        [task] = await self._tasks([row])
        return PastTask(task, events)

    async def _closed_log(self, task_id: str, after: int, limit: int) -> tuple[Row, list[Event]]:
        """The task's row, and the log of a turn that is not open. Raises NotFound."""
        row, events = await side_by_side(self._task_row(task_id), self._events(task_id, after, limit))
        if TaskState(row["task_state"]).terminal:
            # What a worker that lost its lease had on its way when the task was closed, nobody is shown.
            events = [event for event in events if event.number <= row.get("last_event", 0)]
        return row, events

    async def _task_row(self, task_id: str) -> Row:
        """Raises NotFound."""
        row = await self._table.get(items.task_key(task_id))
        if row is None:
            raise NotFound.task(task_id)
        return row

    async def _task(self, task_id: str) -> Task:
        """Raises NotFound."""
        [task] = await self._tasks([await self._task_row(task_id)])
        return task

    async def _tasks(self, rows: list[Row]) -> list[Task]:
        return [items.task_of(row) for row in await self._whole(rows)]

    async def _events(self, task_id: str, after: int, limit: int) -> list[Event]:
        """Without gaps, whatever is being written meanwhile."""
        events: list[Event] = []
        session_id, first = items.log_key(task_id, max(1, after + 2 - items.BATCH_EVENTS))
        _, last = items.log_key(task_id, items.LAST_NUMBER)
        async for rows in self._table.query(session_id, first=first, last=last):
            # An event that is too large for its row is alone in it: those that were seen need not be read.
            wanted = [row for row in rows if "events" in row or items.first_number(row) > after]
            for event in (event for row in await self._whole(wanted) for event in items.events_of(row)):
                if event.number == after + len(events) + 1 and len(events) < limit:
                    events.append(event)
            if len(events) == limit:
                break
        return events

    async def _newest_tasks(self, session_id: str, count: int) -> list[Row]:
        pages = self._table.query(session_id, first=items.TASKS, last=items.TASKS_END, newest_first=True, page=count)
        return await anext(pages)

    async def _search_history(self, session_id: str, limit: int, head: int) -> list[Row]:
        """The long way, for when tasks ended in another order than they were submitted in."""
        turns: list[Row] = []
        async for rows in self._table.query(
            session_id, first=items.TASKS, last=items.TASKS_END, newest_first=True, page=limit + _MORE
        ):
            turns = _last_turns(turns + rows, limit)
            if _complete(turns, limit, head):
                break
        return turns


def _last_turns(rows: list[Row], limit: int) -> list[Row]:
    ended = sorted((row for row in rows if "turn" in row), key=lambda row: int(row["turn"]))
    return ended[max(0, len(ended) - limit) :]


def _complete(turns: list[Row], limit: int, head: int) -> bool:
    """Whether these are the newest turns of a session in which `head` had ended: turns are numbered without gaps."""
    newest = turns[-1]["turn"] if turns else 0
    return newest >= head and len(turns) == min(limit, newest)


def _state(row: Row, hot: Row) -> TaskState:
    working = row["task_state"] == TaskState.SUBMITTED and items.task_id_of(row) == items.open_task_id(hot)
    return TaskState.WORKING if working else TaskState(row["task_state"])


def _seen(task: Task, hot: Row) -> Task:
    return working(task) if items.open_task_id(hot) == task.id else task
