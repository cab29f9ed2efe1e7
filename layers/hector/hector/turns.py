"""Turns: submit → claim → history → agent → log → commit, for one message at a time in each session."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace

from hector.agents.base import Agent, ServedAgent, Turn
from hector.concurrency import side_by_side
from hector.errors import HectorError, InvalidRequest, LostTurn, NotFound, SessionBusy, Stopping
from hector.history import History, Known
from hector.live import LiveLogs
from hector.model import Message, Principal, Session, Task, TaskState, new_session_id, new_task_id
from hector.producer import CLEAN_UP_SECONDS, LEASE, Limits, Producer
from hector.recovery import Recovery
from hector.stores.base import Clock, Idempotency, Lease, Store

_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """In milliseconds: see `hector.config.settings.Sessions`."""

    ttl: int
    max_age: int


@dataclass(frozen=True, slots=True)
class _Claimed:
    """A task and the right to run it; no lease means that it is somebody else's to run, or has ended."""

    task: Task
    nonce: str
    lease: Lease | None


class Turns:
    def __init__(
        self,
        store: Store,
        live: LiveLogs,
        recovery: Recovery,
        agents: Mapping[str, ServedAgent],
        limits: SessionLimits,
        clock: Clock,
    ) -> None:
        self._store = store
        self._live = live
        self._recovery = recovery
        self._agents = agents
        self._limits = limits
        self._now = clock
        self._history = History(store, agents.values())
        self._running: dict[asyncio.Task[None], Producer] = {}
        self._stopping = False

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
        agent_id: str | None = None,
        idempotency: Idempotency | None = None,
        seconds_left: float | None = None,
    ) -> Task:
        """Open a turn in a session; it runs on by itself, whoever reads its log.

        Gives back the task, from before if the idempotency key is known. `agent_id` is the agent that the session must
        be with; `seconds_left` is how long this process may go on. Raises NotFound, InvalidRequest, SessionBusy,
        IdempotencyKeyReused, Stopping.
        """
        session, known = await side_by_side(
            self._store.read_session(principal, session_id),
            self._history.read(principal, session_id),
        )
        if agent_id not in (None, session.agent_id):
            raise InvalidRequest(f"That session is with agent {session.agent_id!r}.", field="contextId")
        return await self._open(session, known, message, idempotency, seconds_left)

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

        Raises NotFound for the agent, IdempotencyKeyReused, Stopping.
        """
        key = idempotency and replace(idempotency, fingerprint=f"{agent_id} {idempotency.fingerprint}")
        session = await self.create_session(principal, agent_id, idempotency=key)
        return await self._open(session, Known(), message, idempotency, seconds_left)

    async def cancel(self, principal: Principal, task_id: str) -> Task:
        """Ask the worker to stop; it does within a second. Raises NotFound, TaskNotCancelable."""
        return await self._store.request_cancel(principal, task_id)

    async def drain(self) -> None:
        """Wait until no turn runs in this process: no work outlives a Lambda invocation."""
        while self._running:
            await asyncio.wait(set(self._running))

    async def stop(self, grace: float = 0.0) -> None:
        """Take no more turns. Those that run may go on for `grace` seconds; then they fail, and say so."""
        self._stopping = True
        if self._running:
            await asyncio.wait(set(self._running), timeout=grace)
        for producer in self._running.values():
            producer.stop()
        if self._running:
            await asyncio.wait(set(self._running), timeout=2 * CLEAN_UP_SECONDS)

    async def _open(
        self,
        session: Session,
        known: Known,
        message: Message,
        idempotency: Idempotency | None,
        seconds_left: float | None,
    ) -> Task:
        if self._stopping:
            raise Stopping("This server is being stopped. Send the message again, to another one or in a moment.")
        served = self.agent(session.agent_id)
        task = self._new_task(session, message)
        claimed = await (
            self._submit_and_claim(session, task)
            if idempotency is None
            else self._submit_once(session, task, idempotency)
        )
        task, lease = claimed.task, claimed.lease
        if lease is None:
            return task
        seconds = served.timeout if seconds_left is None else min(served.timeout, seconds_left)
        try:
            agent, turn = await self._history.recall(served, lease, task, known, seconds=seconds)
        except BaseException:
            await self._take_back(claimed)
            raise
        self._run(Producer(self._store, self._live.open(task.id), lease, Limits(seconds, served.streams)), agent, turn)
        return task

    def _new_task(self, session: Session, message: Message) -> Task:
        now = self._now()
        return Task(
            id=new_task_id(session.id, now),
            session_id=session.id,
            agent_id=session.agent_id,
            state=TaskState.SUBMITTED,
            input=message,
            created_at=now,
            updated_at=now,
        )

    def _run(self, producer: Producer, agent: Agent, turn: Turn) -> None:
        running = asyncio.create_task(producer.run(agent, turn), name=f"turn {turn.task_id}")
        self._running[running] = producer

        def ended(done: asyncio.Task[None]) -> None:
            del self._running[done]
            self._live.forget(turn.task_id, producer.log)

        running.add_done_callback(ended)

    async def _submit_and_claim(self, session: Session, task: Task) -> _Claimed:
        """Both writes side by side; if either fails, the other is taken back."""
        if session.open_task_id is not None:
            raise SessionBusy(session.open_task_id)
        nonce = secrets.token_hex(8)
        submitted, lease = await asyncio.gather(
            self._store.submit(task, nonce=nonce), self._claim(session, task), return_exceptions=True
        )
        for failure in (lease, submitted):
            if isinstance(failure, BaseException):
                await self._take_back(_Claimed(task, nonce, lease if isinstance(lease, Lease) else None))
                raise failure
        assert isinstance(lease, Lease)
        return _Claimed(task, nonce, lease)

    async def _submit_once(self, session: Session, task: Task, idempotency: Idempotency) -> _Claimed:
        """The task that the key stands for. It is for us to run only if nobody has begun to."""
        for _ in range(_ATTEMPTS):
            nonce = secrets.token_hex(8)
            submitted = await self._store.submit(task, nonce=nonce, idempotency=idempotency)
            claimed = _Claimed(submitted.task, nonce, None)
            if submitted.task.state.terminal:
                return claimed
            try:
                claimed = _Claimed(submitted.task, nonce, await self._claim(session, submitted.task))
                current = await self._store.read_task(session.principal, submitted.task.id)
            except SessionBusy as busy:
                if busy.task_id == submitted.task.id:
                    return claimed
                await self._take_back(claimed)
                raise
            except NotFound:
                await self._take_back(claimed)
                continue  # whoever submitted it has taken it back
            except BaseException:
                await self._take_back(claimed)
                raise
            if not current.state.terminal:
                return claimed
            await self._take_back(claimed)
            return _Claimed(current, nonce, None)
        raise SessionBusy(task.id)

    async def _claim(self, session: Session, task: Task) -> Lease:
        nonce = secrets.token_hex(8)
        for _ in range(_ATTEMPTS):
            try:
                return await self._store.claim(
                    session.principal, session.id, task.id, lease=LEASE, nonce=nonce, takeover=False
                )
            except LostTurn as lost:
                await self._recovery.close(session.principal, lost.task_id)
        raise SessionBusy(task.id)

    async def _take_back(self, claimed: _Claimed) -> None:
        """As if it had not been asked for: the session is free, and the task gone if we have submitted it."""
        with contextlib.suppress(HectorError):
            if claimed.lease is not None:
                await self._store.release(claimed.lease)
        with contextlib.suppress(HectorError):
            await self._store.discard(claimed.task, nonce=claimed.nonce)
