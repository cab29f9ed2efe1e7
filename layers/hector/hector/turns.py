"""Turns: submit → claim → history → agent → log → commit, for one message at a time in each session."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace

from hector.agents.base import Agent, Turn
from hector.errors import HectorError, InvalidRequest, LeaseLost, LostTurn, NotFound, SessionBusy, TaskClosed
from hector.history import conversation, turns_needed
from hector.live import LiveLogs
from hector.model import (
    EventKind,
    Message,
    Principal,
    Role,
    Session,
    Task,
    TaskError,
    TaskState,
    new_session_id,
    new_task_id,
    session_id_of,
)
from hector.producer import LEASE, Limits, Producer
from hector.stores.base import Clock, Idempotency, Lease, Outcome, Store

_CLAIM_ATTEMPTS = 3
WORKER_LOST = "worker_lost"


@dataclass(frozen=True, slots=True)
class ServedAgent:
    """An agent with the settings that its turns run under; `window` is in messages, `timeout` in seconds."""

    id: str
    agent: Agent
    name: str
    description: str = ""
    system: str | None = None
    window: int = 40
    timeout: float = 600.0
    streams: bool = True


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """In milliseconds: see `hector.config.settings.Sessions`."""

    ttl: int
    max_age: int


class Turns:
    def __init__(
        self, store: Store, live: LiveLogs, agents: Mapping[str, ServedAgent], limits: SessionLimits, clock: Clock
    ) -> None:
        self._store = store
        self._live = live
        self._agents = agents
        self._limits = limits
        self._now = clock
        self._shown = max(1, *(turns_needed(agent.window) for agent in agents.values()))
        self._running: dict[asyncio.Task[None], Producer] = {}

    def agent(self, agent_id: str) -> ServedAgent:
        """Raises NotFound."""
        try:
            return self._agents[agent_id]
        except KeyError:
            raise NotFound.agent(agent_id, sorted(self._agents)) from None

    async def create_session(
        self,
        principal: Principal,
        agent_id: str,
        *,
        ttl: int | None = None,
        metadata: dict[str, object] | None = None,
        idempotency: Idempotency | None = None,
    ) -> Session:
        """A new session, or the one from before if the idempotency key is known; `ttl` in milliseconds.

        Raises NotFound for the agent, IdempotencyKeyReused.
        """
        session = self.draft_session(principal, agent_id, ttl=ttl, metadata=metadata)
        return await self._store.create_session(session, idempotency=idempotency)

    def draft_session(
        self, principal: Principal, agent_id: str, *, ttl: int | None = None, metadata: dict[str, object] | None = None
    ) -> Session:
        """A session that is not stored yet. Raises NotFound for the agent, InvalidRequest for the `ttl`."""
        self.agent(agent_id)
        now = self._now()
        ttl = self._limits.ttl if ttl is None else self.checked_ttl(ttl)
        last_expiry = now + self._limits.max_age
        return Session(
            id=new_session_id(),
            agent_id=agent_id,
            principal=principal,
            created_at=now,
            ttl=ttl,
            expires_at=min(now + ttl, last_expiry),
            last_expiry=last_expiry,
            last_activity_at=now,
            metadata=metadata or {},
        )

    def checked_ttl(self, ttl: int) -> int:
        """Raises InvalidRequest if it is longer than a session may live."""
        if ttl > self._limits.max_age:
            raise InvalidRequest(
                f"ttl is longer than sessions may live here ({self._limits.max_age // 1000} seconds).", field="ttl"
            )
        return ttl

    async def start(
        self,
        principal: Principal,
        session_id: str,
        message: Message,
        *,
        idempotency: Idempotency | None = None,
        seconds_left: float | None = None,
    ) -> Task:
        """Open a turn in a session; it runs on by itself, whoever reads its log.

        Gives back the task, from before if the idempotency key is known. `seconds_left` is how long this process may
        go on. Raises NotFound, SessionBusy, IdempotencyKeyReused.
        """
        session, ended = await asyncio.gather(
            self._store.read_session(principal, session_id),
            self._store.read_history(principal, session_id, limit=self._shown),
        )
        return await self._open(session, ended, message, idempotency, seconds_left)

    async def start_new(
        self,
        principal: Principal,
        agent_id: str,
        message: Message,
        *,
        idempotency: Idempotency | None = None,
        seconds_left: float | None = None,
    ) -> Task:
        """Open the first turn of a new session, or give back the one from before if the idempotency key is known.

        Raises NotFound for the agent, IdempotencyKeyReused.
        """
        key = idempotency and replace(idempotency, fingerprint=f"{agent_id} {idempotency.fingerprint}")
        session = await self.create_session(principal, agent_id, idempotency=key)
        return await self._open(session, [], message, idempotency, seconds_left)

    async def cancel(self, principal: Principal, task_id: str) -> Task:
        """Ask the worker to stop; it does within a second. Raises NotFound, TaskNotCancelable."""
        return await self._store.request_cancel(principal, task_id)

    async def close_lost(self, principal: Principal, task_id: str) -> None:
        """Fail a task whose worker is gone, keeping what it said. Silent if somebody else is doing so, or has."""
        session_id = session_id_of(task_id) or ""
        with contextlib.suppress(NotFound, SessionBusy, LostTurn, LeaseLost):
            lease = await self._store.claim(principal, session_id, task_id, lease=LEASE, nonce=secrets.token_hex(8))
            try:
                outcome = await self._salvage(principal, task_id)
                await self._store.commit(lease, outcome, nonce=secrets.token_hex(8))
            except TaskClosed:
                pass
            finally:
                await self._store.release(lease)

    async def drain(self) -> None:
        """Wait until no turn runs in this process: no work outlives a Lambda invocation."""
        while self._running:
            await asyncio.wait(set(self._running))

    async def stop(self) -> None:
        """Fail the turns that run in this process, and wait for that."""
        for producer in self._running.values():
            producer.stop()
        await self.drain()

    async def _open(
        self,
        session: Session,
        ended: list[Task],
        message: Message,
        idempotency: Idempotency | None,
        seconds_left: float | None,
    ) -> Task:
        served = self.agent(session.agent_id)
        now = self._now()
        task = Task(
            id=new_task_id(session.id, now),
            session_id=session.id,
            agent_id=session.agent_id,
            state=TaskState.SUBMITTED,
            input=message,
            created_at=now,
            updated_at=now,
        )
        if idempotency is None:
            lease = await self._submit_and_claim(session, task)
        else:
            task, claimed = await self._submit_once(session, task, idempotency)
            if claimed is None:
                return task
            lease = claimed
        if lease.head != (ended[-1].turn if ended else 0):
            ended = await self._store.read_history(session.principal, session.id, limit=self._shown)
        turn = Turn(task.id, lease.session, message, conversation(ended, window=served.window), served.system)
        seconds = served.timeout if seconds_left is None else min(served.timeout, seconds_left)
        self._run(Producer(self._store, self._live.open(task.id), lease, Limits(seconds, served.streams)), served, turn)
        return task

    def _run(self, producer: Producer, served: ServedAgent, turn: Turn) -> None:
        running = asyncio.create_task(producer.run(served.agent, turn), name=f"turn {turn.task_id}")
        self._running[running] = producer

        def ended(done: asyncio.Task[None]) -> None:
            del self._running[done]
            self._live.forget(turn.task_id)

        running.add_done_callback(ended)

    async def _submit_and_claim(self, session: Session, task: Task) -> Lease:
        """Both writes side by side; if either fails, the other is taken back."""
        if session.open_task_id is not None:
            raise SessionBusy(session.open_task_id)
        nonce = secrets.token_hex(8)
        submitted, lease = await asyncio.gather(
            self._store.submit(task, nonce=nonce), self._claim(session, task), return_exceptions=True
        )
        if isinstance(lease, BaseException):
            with contextlib.suppress(HectorError):
                await self._store.discard(task, nonce=nonce)
            raise lease
        if isinstance(submitted, BaseException):
            with contextlib.suppress(HectorError):
                await self._store.release(lease)
            raise submitted
        return lease

    async def _submit_once(self, session: Session, task: Task, idempotency: Idempotency) -> tuple[Task, Lease | None]:
        """The task that the key stands for, and its lease if it is for us to run it."""
        nonce = secrets.token_hex(8)
        submitted = await self._store.submit(task, nonce=nonce, idempotency=idempotency)
        task = submitted.task
        if task.state.terminal:
            return task, None
        try:
            lease = await self._claim(session, task)
        except SessionBusy as busy:
            if busy.task_id == task.id:
                return task, None
            if submitted.created:
                await self._store.discard(task, nonce=nonce)
            raise
        if not submitted.created:
            current = await self._store.read_task(session.principal, task.id)
            if current.state.terminal:
                await self._store.release(lease)
                return current, None
        return task, lease

    async def _claim(self, session: Session, task: Task) -> Lease:
        nonce = secrets.token_hex(8)
        for _ in range(_CLAIM_ATTEMPTS):
            try:
                return await self._store.claim(session.principal, session.id, task.id, lease=LEASE, nonce=nonce)
            except LostTurn as lost:
                await self.close_lost(session.principal, lost.task_id)
        raise SessionBusy(task.id)

    async def _salvage(self, principal: Principal, task_id: str) -> Outcome:
        """The outcome of a turn whose worker is gone: failed, with what its log holds."""
        texts: list[str] = []
        last = 0
        while (page := await self._store.read_events(principal, task_id, after=last)).events:
            texts += [event.text for event in page.events if event.kind is EventKind.MESSAGE]
            last = page.events[-1].number
        error = TaskError(WORKER_LOST, "The worker that was answering is gone. Send the message again.")
        return Outcome(TaskState.FAILED, last, Message.of(Role.AGENT, "".join(texts)) if texts else None, error=error)
