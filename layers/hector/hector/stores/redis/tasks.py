"""Tasks as readers see them: history, listings, the events of a log, summaries; and the cancel mark."""

from __future__ import annotations

import secrets

from hector.errors import NotFound
from hector.model import Millis, Principal, Summary, Task, TaskState, working
from hector.stores.base import LogPage, Outcome, Page, PastTask
from hector.stores.cursors import check_tasks_cursor
from hector.stores.redis import items
from hector.stores.redis.encoding import encoded_outcome, encoded_principal
from hector.stores.redis.records import Records


class Tasks(Records):
    async def read_history(self, principal: Principal, session_id: str, *, limit: int) -> list[Task]:
        await self._own_hot(principal, session_id)
        owner = encoded_principal(principal)
        [turns] = await self._run("history", session_id, self._now(), owner, limit)
        return [items.task_of(session_id, suffix, values) for suffix, values in turns]

    async def read_task(self, principal: Principal, task_id: str) -> Task:
        session_id, (open_task, values) = await self._run_on_task("task", principal, task_id)
        return _seen(items.task_of(session_id, items.suffix_of(task_id), values), open_task)

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
        await self._own_hot(principal, session_id)
        owner = encoded_principal(principal)
        last = None if cursor is None else items.suffix_of(check_tasks_cursor(cursor, session_id))
        found: list[Task] = []
        while len(found) <= limit:
            start = ("-" if oldest_first else "+") if last is None else f"({last}"
            end, order = ("+", "") if oldest_first else ("-", "REV")
            open_task, tasks = await self._run("tasks", session_id, self._now(), owner, start, end, limit + 1, order)
            seen = [_seen(items.task_of(session_id, suffix, values), open_task) for suffix, values in tasks]
            found += [task for task in seen if state in (None, task.state)]
            if len(tasks) <= limit:
                break
            last = tasks[-1][0]
        return Page(found[:limit], found[limit - 1].id if len(found) > limit else None)

    async def read_events(
        self, principal: Principal, task_id: str, *, after: int, limit: int = 1000, wait: Millis = 0
    ) -> LogPage:
        page, streams, until = await self._log(principal, task_id, after, limit)
        if wait and not page.events and until is not None:
            await self._connection.wait_for(streams, min(wait, until) / 1000)
            page, _, _ = await self._log(principal, task_id, after, limit)
        return page

    async def read_past(self, principal: Principal, task_id: str, *, after: int, limit: int = 1000) -> PastTask:
        session_id, answer = await self._run_on_task("past", principal, task_id, items.cursor_of(after), limit)
        values, entries = answer
        task = items.task_of(session_id, items.suffix_of(task_id), values)
        if not task.state.terminal:
            raise NotFound.task(task_id)
        return PastTask(task, items.events_of(entries, after))

    async def request_cancel(self, principal: Principal, task_id: str) -> Task:
        return await self._leave(principal, task_id, Outcome(TaskState.CANCELED, 0), secrets.token_hex(8), cancel="1")

    async def leave_line(self, principal: Principal, task_id: str, outcome: Outcome, *, nonce: str) -> Task:
        return await self._leave(principal, task_id, outcome, nonce, cancel="")

    async def read_summary(self, principal: Principal, session_id: str) -> Summary | None:
        await self._own_hot(principal, session_id)
        text, through = await self._connection.call("HMGET", self._keys.hot(session_id), "summary", "through")
        return None if through is None else Summary(text, int(through))

    async def _leave(self, principal: Principal, task_id: str, outcome: Outcome, nonce: str, *, cancel: str) -> Task:
        ended = {**encoded_outcome(outcome), "updated_at": str(self._now())}
        session_id, (open_task, values) = await self._run_on_task(
            "leave", principal, task_id, nonce, cancel, *items.flat(ended)
        )
        return _seen(items.task_of(session_id, items.suffix_of(task_id), values), open_task)

    async def _log(
        self, principal: Principal, task_id: str, after: int, limit: int
    ) -> tuple[LogPage, dict[str, str], Millis | None]:
        """A page of the log, the streams that tell of more, and for how long to wait for them; None if none comes."""
        cursor = items.cursor_of(after)
        session_id, answer = await self._run_on_task("events", principal, task_id, cursor, limit)
        values, state, entries, place = answer
        hot, suffix, now = items.hot_of(values) or {}, items.suffix_of(task_id), self._now()
        is_open = hot["open"] == suffix
        left = int(hot["lease_until"]) - now
        page = LogPage(
            items.events_of(entries, after),
            is_open,
            lost=is_open and left <= 0,
            waiting=task_id in items.waiting(session_id, hot["line"]),
        )
        streams = {self._keys.log(task_id): f"{cursor}-0", self._keys.wake(session_id): place}
        if is_open:
            return page, streams, left if left > 0 else None
        return page, streams, None if TaskState(state).terminal else items.DAY


def _seen(task: Task, open_task: str) -> Task:
    return working(task) if open_task == items.suffix_of(task.id) else task
