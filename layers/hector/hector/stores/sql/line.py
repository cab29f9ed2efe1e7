"""Tasks that wait for their turn, and the cancel mark of one whose turn is open."""

from __future__ import annotations

import secrets

from sqlalchemy import Connection, select

from hector.errors import TaskNotCancelable
from hector.model import Principal, Session, Task, TaskState, working
from hector.stores.base import Outcome
from hector.stores.record import Hot
from hector.stores.sql.rows import task_of
from hector.stores.sql.sessions import Sessions, save
from hector.stores.sql.statements import end_task, task_row
from hector.stores.sql.tables import events


class Line(Sessions):
    async def line_up(self, principal: Principal, task_id: str, *, most: int, interrupt: bool = False) -> Session:
        def wait(connection: Connection) -> Session:
            hot = self._session_of_task(connection, principal, task_id, lock=True)
            if not task_of(task_row(connection, task_id)).state.terminal:
                hot.line_up(task_id, most=most, interrupt=interrupt, now=self._now())
                save(connection, hot)
            return hot.seen(self._now())

        return await self._database.write(wait)

    async def leave_line(self, principal: Principal, task_id: str, outcome: Outcome, *, nonce: str) -> Task:
        def leave(connection: Connection) -> Task:
            hot = self._session_of_task(connection, principal, task_id, lock=True)
            task = task_of(task_row(connection, task_id))
            return working(task) if hot.open_task == task_id else self._leave(connection, hot, task, outcome, nonce)

        return await self._database.write(leave)

    async def request_cancel(self, principal: Principal, task_id: str) -> Task:
        nonce = secrets.token_hex(8)

        def cancel(connection: Connection) -> Task:
            hot = self._session_of_task(connection, principal, task_id, lock=True)
            row = task_row(connection, task_id)
            task = task_of(row)
            if task.state.terminal and row.nonce != nonce:
                raise TaskNotCancelable(f"Task {task_id!r} is already {task.state}.")
            if hot.open_task != task_id:
                log = select(events.c.last).where(events.c.session_id == task.session_id, events.c.task_id == task_id)
                if connection.execute(log.limit(1)).first():
                    return task
                return self._leave(connection, hot, task, Outcome(TaskState.CANCELED, 0), nonce)
            hot.cancel_requested = task_id
            save(connection, hot)
            return working(task)

        return await self._database.write(cancel)

    def _leave(self, connection: Connection, hot: Hot, task: Task, outcome: Outcome, nonce: str) -> Task:
        if task.state.terminal:
            hot.leave_line(task.id)
        else:
            task = outcome.applied_to(task, now=self._now())
            end_task(connection, task, nonce)
            hot.ended_unbegun(task.id)
        save(connection, hot)
        return task
