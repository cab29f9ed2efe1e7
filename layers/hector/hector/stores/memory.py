"""The memory store: the default, in process, gone with it. It is the reference implementation: read this one first.

No method awaits anything, so under asyncio each one is atomic by itself. What it holds is in plain view, so that a
store which only has to keep it somewhere can build on this one: examples/own-store does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hector.errors import (
    IdempotencyKeyReused,
    LeaseLost,
    NotFound,
    TaskClosed,
    TaskNotCancelable,
)
from hector.model import Event, Millis, Principal, Session, Summary, Task, TaskState, session_id_of, working
from hector.stores.base import (
    Check,
    Clock,
    Idempotency,
    Lease,
    LogPage,
    Outcome,
    Page,
    PastTask,
    StagedTurn,
    Submitted,
    Unfinished,
    system_clock,
)
from hector.stores.cursors import activity_key, check_sessions_cursor, check_tasks_cursor
from hector.stores.record import Record, lost

SWEEP_INTERVAL: Millis = 60_000
KEPT_FOR: Millis = 60_000
"""An expired session is forgotten this much later: see `Store.read_past`."""
STAGED_FOR: Millis = 86_400_000
"""Turns whose session has not been created for so long were left by somebody who is gone."""


class MemoryStore:
    def __init__(self, clock: Clock = system_clock) -> None:
        self._now = clock
        self.records: dict[str, Record] = {}
        self.staged: dict[str, Record] = {}
        self.keys: dict[tuple[Principal, str], tuple[str, str]] = {}
        self._next_sweep: Millis = 0

    def open(self) -> None:
        pass

    async def set_up(self) -> None:
        pass

    async def check(self) -> list[Check]:
        return [Check("memory", True, "Sessions are kept in this process, and end with it.")]

    async def create_session(self, session: Session, *, idempotency: Idempotency | None = None) -> Session:
        self._sweep()
        if idempotency is not None:
            place = (session.principal, idempotency.key)
            fingerprint, session_id = self.keys.get(place, ("", ""))
            first = self.records.get(session_id)
            if first is not None and first.session.expires_at > self._now():
                if fingerprint != idempotency.fingerprint:
                    raise IdempotencyKeyReused.key(idempotency.key)
                return first.seen(self._now())
            self.keys[place] = (idempotency.fingerprint, session.id)
        if session.id not in self.records:
            record = self.staged.pop(session.id, None) or Record.of(session)
            record.session, record.idle_until = session, session.expires_at
            self.records[session.id] = record
        return self.records[session.id].seen(self._now())

    async def read_session(self, principal: Principal, session_id: str) -> Session:
        return self._record(principal, session_id).seen(self._now())

    async def list_sessions(
        self, principal: Principal, *, agent_id: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Session]:
        now = self._now()
        found = [
            record.seen(now)
            for record in self.records.values()
            if record.session.principal == principal
            and record.session.expires_at > now
            and agent_id in (None, record.session.agent_id)
        ]
        found.sort(key=activity_key, reverse=True)
        if cursor is not None:
            place = check_sessions_cursor(cursor)
            found = [session for session in found if activity_key(session) < place]
        return Page(found[:limit], activity_key(found[limit - 1]) if len(found) > limit else None)

    async def update_session(
        self,
        principal: Principal,
        session_id: str,
        *,
        ttl: Millis | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Session:
        record = self._record(principal, session_id)
        if metadata is not None:
            record.session = replace(record.session, metadata=metadata)
        if ttl is not None:
            record.session = replace(record.session, ttl=ttl)
            record.slide(self._now())
        return record.seen(self._now())

    async def delete_session(self, principal: Principal, session_id: str) -> None:
        self._record(principal, session_id)
        del self.records[session_id]

    async def stage_turns(
        self, session: Session, turns: Sequence[StagedTurn], *, summary: Summary | None = None
    ) -> None:
        record = self.staged.setdefault(session.id, Record.of(session))
        record.idle_until = self._now() + STAGED_FOR
        for turn in turns:
            task = turn.task
            record.tasks[task.id] = task
            record.nonces[task.id] = ""
            record.logs[task.id] = list(turn.events)
            if task.turn:
                record.ended.append(task.id)
        record.summary = summary or record.summary

    async def unstage(self, session: Session) -> None:
        self.staged.pop(session.id, None)

    async def submit(self, task: Task, *, nonce: str, idempotency: Idempotency | None = None) -> Submitted:
        record = self.records.get(task.session_id)
        if record is None:
            raise NotFound.session(task.session_id)
        if idempotency is not None:
            fingerprint, task_id = record.keys.setdefault(idempotency.key, (idempotency.fingerprint, task.id))
            if fingerprint != idempotency.fingerprint:
                raise IdempotencyKeyReused.key(idempotency.key)
            task = replace(task, id=task_id)
        if task.id in record.tasks:
            return Submitted(record.tasks[task.id], created=record.nonces[task.id] == nonce)
        record.tasks[task.id] = task
        record.nonces[task.id] = nonce
        return Submitted(task, created=True)

    async def discard(self, task: Task, *, nonce: str) -> None:
        record = self.records.get(task.session_id)
        if record is None or record.nonces.get(task.id) != nonce or record.open_task == task.id:
            return
        if task.id in record.waiting and any(task_id == task.id for _, task_id in record.keys.values()):
            return
        if record.tasks[task.id].state is TaskState.SUBMITTED:
            record.leave_line(task.id)
            del record.tasks[task.id], record.nonces[task.id]
            record.keys = {key: value for key, value in record.keys.items() if value[1] != task.id}

    async def claim(
        self, principal: Principal, session_id: str, task_id: str, *, lease: Millis, nonce: str, takeover: bool = True
    ) -> Lease:
        if session_id_of(task_id) != session_id:
            raise NotFound.task(task_id)
        record = self._record(principal, session_id)
        return record.claim(task_id, lease=lease, nonce=nonce, takeover=takeover, now=self._now())

    async def line_up(self, principal: Principal, task_id: str, *, most: int, interrupt: bool = False) -> Session:
        record, task = self._task(principal, task_id)
        if not task.state.terminal:
            record.line_up(task_id, most=most, interrupt=interrupt, now=self._now())
        return record.seen(self._now())

    async def leave_line(self, principal: Principal, task_id: str, outcome: Outcome, *, nonce: str) -> Task:
        record, task = self._task(principal, task_id)
        if record.open_task == task_id:
            return working(task)
        if task.state.terminal:
            record.leave_line(task_id)
            return task
        task = outcome.applied_to(task, now=self._now())
        record.tasks[task_id] = task
        record.nonces[task_id] = nonce
        record.ended_unbegun(task_id)
        return task

    async def append_events(self, lease: Lease, events: Sequence[Event], *, extend: Millis) -> Lease:
        record = self._held(lease)
        if events:
            record.logs.setdefault(lease.task_id, [])[events[0].number - 1 :] = events
        record.renew(self._now() + extend)
        return record.lease(self._now())

    async def check_lease(self, lease: Lease) -> Lease:
        return self._held(lease).lease(self._now())

    async def commit(self, lease: Lease, outcome: Outcome, *, nonce: str) -> Task:
        record = self._held(lease)
        task = record.tasks.get(lease.task_id)
        if task is None:
            raise NotFound.task(lease.task_id)
        if task.state.terminal:
            if record.nonces[task.id] == nonce:
                return task
            raise TaskClosed(f"Task {task.id!r} is already {task.state}.")
        task = outcome.applied_to(task, now=self._now(), turn=lease.head + 1)
        record.tasks[task.id] = task
        record.ended.append(task.id)
        record.nonces[task.id] = nonce
        return task

    async def release(self, lease: Lease, *, next_in_line: bool = False) -> None:
        try:
            record = self._held(lease)
        except LeaseLost:
            return
        task = record.tasks.get(lease.task_id)
        turns = max(task.turn if task else 0, record.session.turns)
        record.release(turns=turns, now=self._now(), next_in_line=next_in_line)

    async def read_history(self, principal: Principal, session_id: str, *, limit: int) -> list[Task]:
        record = self._record(principal, session_id)
        return [record.tasks[id_] for id_ in record.ended[max(0, len(record.ended) - limit) :]]

    async def read_task(self, principal: Principal, task_id: str) -> Task:
        record, task = self._task(principal, task_id)
        return working(task) if record.open_task == task_id else task

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
        record = self._record(principal, session_id)
        ids = sorted(record.tasks, reverse=not oldest_first)
        if cursor is not None:
            check_tasks_cursor(cursor, session_id)
            ids = [id_ for id_ in ids if (id_ > cursor if oldest_first else id_ < cursor)]
        seen = [working(record.tasks[id_]) if record.open_task == id_ else record.tasks[id_] for id_ in ids]
        found = [task for task in seen if state in (None, task.state)]
        return Page(found[:limit], found[limit - 1].id if len(found) > limit else None)

    async def read_events(
        self, principal: Principal, task_id: str, *, after: int, limit: int = 1000, wait: Millis = 0
    ) -> LogPage:
        record, _ = self._task(principal, task_id)
        is_open = record.open_task == task_id
        events = record.logs.get(task_id, [])[after : after + limit]
        lost = is_open and record.lease_until <= self._now()
        return LogPage(events, is_open, lost, waiting=task_id in record.waiting)

    async def read_past(self, principal: Principal, task_id: str, *, after: int, limit: int = 1000) -> PastTask:
        record = self.records.get(session_id_of(task_id) or "")
        task = record.tasks.get(task_id) if record is not None and record.session.principal == principal else None
        if record is None or task is None or not task.state.terminal:
            raise NotFound.task(task_id)
        return PastTask(task, record.logs.get(task_id, [])[after : after + limit])

    async def request_cancel(self, principal: Principal, task_id: str) -> Task:
        record, task = self._task(principal, task_id)
        if task.state.terminal:
            raise TaskNotCancelable(f"Task {task_id!r} is already {task.state}.")
        if record.open_task == task_id:
            record.cancel_requested = task_id
            return working(task)
        if record.logs.get(task_id):
            return task
        return await self.leave_line(principal, task_id, Outcome(TaskState.CANCELED, 0), nonce="")

    async def read_summary(self, principal: Principal, session_id: str) -> Summary | None:
        return self._record(principal, session_id).summary

    async def save_summary(self, lease: Lease, summary: Summary) -> None:
        record = self._held(lease)
        if record.summary is None or record.summary.through < summary.through:
            record.summary = summary

    async def read_owner(self, session_id: str) -> Principal:
        record = self.records.get(session_id)
        if record is None or record.session.expires_at <= self._now():
            raise NotFound.session(session_id)
        return record.session.principal

    async def list_every_session(self, *, cursor: str | None = None, limit: int = 100) -> Page[Session]:
        now = self._now()
        found = [record.seen(now) for id_, record in sorted(self.records.items()) if id_ > (cursor or "")]
        found = [session for session in found if session.expires_at > now]
        return Page(found[:limit], found[limit - 1].id if len(found) > limit else None)

    async def list_unfinished(self, *, cursor: str | None = None, limit: int = 100) -> Page[Unfinished]:
        now = self._now()
        found = []
        for id_, record in sorted(self.records.items()):
            lost = record.open_task if record.lease_until <= now else None
            stuck = lost is not None or (record.waiting and record.open_task is None)
            if stuck and id_ > (cursor or "") and record.session.expires_at > now:
                found.append(Unfinished(record.seen(now), lost))
        return Page(found[:limit], found[limit - 1].session.id if len(found) > limit else None)

    async def clean_up(self) -> int:
        before = len(self.records)
        self._next_sweep = 0
        self._sweep()
        return before - len(self.records)

    async def aclose(self) -> None:
        pass

    def _record(self, principal: Principal, session_id: str) -> Record:
        record = self.records.get(session_id)
        if record is None or record.session.principal != principal or record.session.expires_at <= self._now():
            raise NotFound.session(session_id)
        return record

    def _task(self, principal: Principal, task_id: str) -> tuple[Record, Task]:
        try:
            record = self._record(principal, session_id_of(task_id) or "")
            return record, record.tasks[task_id]
        except (NotFound, KeyError):
            raise NotFound.task(task_id) from None

    def _held(self, lease: Lease) -> Record:
        """The record whose lease this is. Raises LeaseLost."""
        record = self.records.get(lease.session.id)
        if record is None:
            raise lost(lease)
        record.check_held(lease, self._now())
        return record

    def _sweep(self) -> None:
        """Forget expired sessions, and turns of sessions that never came, now and then: nobody sees them anyway."""
        now = self._now()
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP_INTERVAL
            kept = [entry for entry in self.records.items() if entry[1].session.expires_at > now - KEPT_FOR]
            self.records = dict(kept)
            self.keys = {place: value for place, value in self.keys.items() if value[1] in self.records}
            self.staged = {id_: record for id_, record in self.staged.items() if record.idle_until > now}
