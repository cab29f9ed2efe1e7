"""What the suite works with: a store under a clock that it moves, and the steps of a turn."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from hector.model import (
    Event,
    EventKind,
    Message,
    Millis,
    Principal,
    Role,
    Session,
    Task,
    TaskState,
    new_session_id,
    new_task_id,
)
from hector.stores.base import Lease, Outcome, Store
from hector.testing.clock import ManualClock

MakeStore = Callable[[ManualClock], Store]

TTL: Millis = 60_000
MAX_AGE: Millis = 600_000
LEASE: Millis = 15_000


def done(last_event: int = 0) -> Outcome:
    return Outcome(TaskState.COMPLETED, last_event, Message.of(Role.AGENT, "answer"))


DONE = done()


class Bench:
    def __init__(self, make_store: MakeStore, clock: ManualClock, principal: Principal) -> None:
        self._make_store = make_store
        self._opened: list[Store] = []
        self.clock = clock
        self.principal = principal
        self.store = self.another()

    async def __aenter__(self) -> Bench:
        await self.store.set_up()
        return self

    async def __aexit__(self, *_: object) -> None:
        for store in self._opened:
            await store.aclose()

    def another(self) -> Store:
        """A store that shares what is stored, as another machine's does."""
        self._opened.append(self._make_store(self.clock))
        return self._opened[-1]

    async def session(
        self,
        *,
        ttl: Millis = TTL,
        max_age: Millis = MAX_AGE,
        agent_id: str = "agent",
        metadata: dict[str, Any] | None = None,
    ) -> Session:
        now = self.clock.now
        session = Session(
            id=new_session_id(),
            agent_id=agent_id,
            principal=self.principal,
            created_at=now,
            ttl=ttl,
            expires_at=min(now + ttl, now + max_age),
            last_expiry=now + max_age,
            last_activity_at=now,
            metadata=metadata or {},
        )
        await self.store.create_session(session)
        return session

    def task(self, session: Session, text: str = "question") -> Task:
        """Not stored yet. Tasks are made a millisecond apart, so that they sort as they were made."""
        self.clock.now += 1
        now = self.clock.now
        return Task(
            new_task_id(session.id, now), session.id, session.agent_id, TaskState.SUBMITTED, said(text), now, now
        )

    async def submitted(self, session: Session, text: str = "question") -> Task:
        return (await self.store.submit(self.task(session, text), nonce=nonce())).task

    async def claim(self, task: Task, *, lease: Millis = LEASE, by: str | None = None) -> Lease:
        return await self.store.claim(self.principal, task.session_id, task.id, lease=lease, nonce=by or nonce())

    async def claimed(self, session: Session, *, lease: Millis = LEASE) -> Lease:
        return await self.claim(await self.submitted(session), lease=lease)

    async def ended(self, lease: Lease, outcome: Outcome = DONE) -> Task:
        task = await self.store.commit(lease, outcome, nonce=nonce())
        await self.store.release(lease)
        return task

    async def turn(self, session: Session, text: str = "question") -> Task:
        return await self.ended(await self.claim(await self.submitted(session, text)))

    async def numbers(self, task_id: str, *, after: int = 0, limit: int = 1000) -> list[int]:
        page = await self.store.read_events(self.principal, task_id, after=after, limit=limit)
        return [event.number for event in page.events]


def said(text: str) -> Message:
    return Message.of(Role.USER, text)


def nonce() -> str:
    return secrets.token_hex(8)


def pieces(first: int, last: int) -> list[Event]:
    """Pieces of an answer, numbered from first to last."""
    return [Event(number, EventKind.MESSAGE, f"piece {number} ") for number in range(first, last + 1)]
