"""The verbs that carry the guarantees. Each locks the session's row, and recognises itself when it is sent again.

The session's row first, always, and its tasks afterwards: so no two transactions wait for each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, delete, insert, select

from hector.errors import IdempotencyKeyReused, LeaseLost, NotFound, TaskClosed
from hector.model import Event, Millis, Principal, Summary, Task, TaskState, session_id_of
from hector.stores.base import Idempotency, Lease, Outcome, Submitted
from hector.stores.sql.rows import digest, log_values, summary_values, task_of, task_values
from hector.stores.sql.sessions import Sessions, read_hot, save
from hector.stores.sql.statements import end_task, insert_new, insert_or, of_task, task_row
from hector.stores.sql.tables import events, keys, sessions, summaries, tasks


class Turns(Sessions):
    async def submit(self, task: Task, *, nonce: str, idempotency: Idempotency | None = None) -> Submitted:
        def record(connection: Connection) -> Submitted:
            session = select(sessions.c.id).where(sessions.c.id == task.session_id, ~sessions.c.staged)
            # With a key, what it stands for must not be discarded meanwhile; without one, nobody is in the way.
            if connection.execute(session.with_for_update(read=idempotency is None, key_share=True)).first() is None:
                raise NotFound.session(task.session_id)
            mine = task if idempotency is None else _pointed_to(connection, task, idempotency)
            if insert_new(connection, tasks, task_values(mine, nonce)):
                return Submitted(mine, created=True)
            row = task_row(connection, mine.id)
            return Submitted(task_of(row), created=row.nonce == nonce)

        return await self._database.write(record)

    async def discard(self, task: Task, *, nonce: str) -> None:
        def take_back(connection: Connection) -> None:
            hot = read_hot(connection, task.session_id, lock=True)
            if hot is None or hot.open_task == task.id:
                return
            pointer = (keys.c.scope == task.session_id, keys.c.task_id == task.id)
            if task.id in hot.waiting and connection.execute(select(keys.c.scope).where(*pointer)).first():
                return
            gone = delete(tasks).where(
                *of_task(task.id), tasks.c.nonce == nonce, tasks.c.state == TaskState.SUBMITTED.value
            )
            if not connection.execute(gone).rowcount:
                return
            connection.execute(delete(keys).where(*pointer))
            if task.id in hot.waiting:
                hot.waiting.remove(task.id)
                save(connection, hot)

        await self._database.write(take_back)

    async def claim(
        self, principal: Principal, session_id: str, task_id: str, *, lease: Millis, nonce: str, takeover: bool = True
    ) -> Lease:
        if session_id_of(task_id) != session_id:
            raise NotFound.task(task_id)

        def take(connection: Connection) -> Lease:
            hot = self._session(connection, principal, session_id, lock=True)
            fence = hot.fence
            taken = hot.claim(task_id, lease=lease, nonce=nonce, takeover=takeover, now=self._now())
            if taken.fence != fence:
                save(connection, hot)
            return taken

        return await self._database.write(take)

    async def append_events(self, lease: Lease, events: Sequence[Event], *, extend: Millis) -> Lease:
        def append(connection: Connection) -> Lease:
            hot = self._held(connection, lease)
            if events:
                _put_log(connection, lease, events)
            hot.renew(self._now() + extend)
            save(connection, hot)
            return hot.lease(self._now())

        return await self._database.write(append)

    async def check_lease(self, lease: Lease) -> Lease:
        def look(connection: Connection) -> Lease:
            return self._held(connection, lease, lock=False).lease(self._now())

        return await self._database.read(look)

    async def commit(self, lease: Lease, outcome: Outcome, *, nonce: str) -> Task:
        def close(connection: Connection) -> Task:
            self._held(connection, lease)
            row = task_row(connection, lease.task_id)
            task = task_of(row)
            if task.state.terminal:
                if row.nonce == nonce:
                    return task
                raise TaskClosed(f"Task {task.id!r} is already {task.state}.")
            ended = outcome.applied_to(task, now=self._now(), turn=lease.head + 1)
            end_task(connection, ended, nonce)
            return ended

        return await self._database.write(close)

    async def release(self, lease: Lease, *, next_in_line: bool = False) -> None:
        def give_back(connection: Connection) -> None:
            hot = self._held(connection, lease)
            turn = connection.execute(select(tasks.c.turn).where(*of_task(lease.task_id))).scalar()
            hot.release(turns=max(turn or 0, hot.session.turns), now=self._now(), next_in_line=next_in_line)
            save(connection, hot)

        try:
            await self._database.write(give_back)
        except LeaseLost:
            return

    async def save_summary(self, lease: Lease, summary: Summary) -> None:
        def keep(connection: Connection) -> None:
            self._held(connection, lease)
            values = summary_values(lease.session.id, summary)
            connection.execute(
                insert_or(connection, summaries)
                .values(**values)
                .on_conflict_do_update(
                    index_elements=["session_id"], set_=values, where=summaries.c.through < summary.through
                )
            )

        await self._database.write(keep)


def _put_log(connection: Connection, lease: Lease, batch: Sequence[Event]) -> None:
    """In place of what is there from its first number on: the same batch, perhaps a shorter one, sent before."""
    connection.execute(
        delete(events).where(
            events.c.session_id == lease.session.id,
            events.c.task_id == lease.task_id,
            events.c.last >= batch[0].number,
        )
    )
    connection.execute(insert(events), log_values(lease.session.id, lease.task_id, batch))


def _pointed_to(connection: Connection, task: Task, idempotency: Idempotency) -> Task:
    """The task with the id that the key stands for. Raises IdempotencyKeyReused."""
    place = {"scope": task.session_id, "hash": digest(idempotency.key)}
    mine = {"session_id": task.session_id, "task_id": task.id, "fingerprint": idempotency.fingerprint}
    if insert_new(connection, keys, place | mine):
        return task
    pointer = connection.execute(select(keys).filter_by(**place)).one()
    if pointer.fingerprint != idempotency.fingerprint:
        raise IdempotencyKeyReused.key(idempotency.key)
    return replace(task, id=pointer.task_id)
