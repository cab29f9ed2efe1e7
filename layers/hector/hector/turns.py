"""Turns: what becomes of a message, from the session that it is for to the turn that runs, or waits."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from hector.agents.base import ServedAgent
from hector.claims import Claims, Queueing
from hector.concurrency import Background, side_by_side
from hector.config.settings import LONGEST_LINE
from hector.errors import HectorError, InvalidRequest, NotFound, Stopping
from hector.history import NOTHING_KNOWN, History, Known
from hector.line import Lines, send
from hector.live import LiveLogs
from hector.model import Message, Principal, Session, Task, TaskState, TurnPolicy, new_session_id, new_task_id
from hector.queues.base import WorkQueue
from hector.recovery import Recovery
from hector.running import Running
from hector.stores.base import Clock, Idempotency, Lease, Store
from hector.stores.log import end_waiting

logger = logging.getLogger(__name__)

SEND_AGAIN_SECONDS = 300.0
"""After so long a sweep sends a task to the queue once more."""


class SessionLimits(NamedTuple):
    """In milliseconds: see `hector.config.settings.Sessions`."""

    ttl: int
    max_age: int


class Asked(NamedTuple):
    """How a message is asked for.

    `policy`: what happens if the session is busy, in place of the agent's own; `background`: nobody waits for the
    answer here; `seconds_left`: how long this process may go on.
    """

    idempotency: Idempotency | None = None
    policy: TurnPolicy | None = None
    background: bool = False
    seconds_left: float | None = None


PLAINLY = Asked()


class Turns:
    def __init__(
        self,
        store: Store,
        live: LiveLogs,
        recovery: Recovery,
        agents: Mapping[str, ServedAgent],
        limits: SessionLimits,
        clock: Clock,
        queue: WorkQueue | None = None,
    ) -> None:
        self._store = store
        self._agents = agents
        self._limits = limits
        self._now = clock
        self._live = live
        self._history = History(store, agents.values())
        self._claims = Claims(store, recovery)
        self._running = Running(store, live, self._history, clock, queue)
        self._lines = Lines(store, live, self._claims, self._running, self.agent, clock, queue)
        self._queue = queue
        self._sent: dict[str, float] = {}
        self._canceling = Background()
        self._stopping = False

    @property
    def agents(self) -> Mapping[str, ServedAgent]:
        return self._agents

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
        asked: Asked = PLAINLY,
    ) -> Task:
        """Open a turn in a session; it runs on by itself, whoever reads its log. In a busy session, it may wait first.

        Gives back the task, from before if the idempotency key is known. `agent_id` is the agent that the session must
        be with. Raises NotFound, InvalidRequest, SessionBusy, LineFull, IdempotencyKeyReused, Stopping.
        """
        session, known = await side_by_side(
            self._store.read_session(principal, session_id),
            self._history.read(principal, session_id),
        )
        if agent_id not in (None, session.agent_id):
            raise InvalidRequest(f"That session is with agent {session.agent_id!r}.", field="contextId")
        return await self._open(session, known, message, asked)

    async def start_new(self, principal: Principal, agent_id: str, message: Message, *, asked: Asked = PLAINLY) -> Task:
        """Open the first turn of a new session, or give back the one from before if the idempotency key is known.

        Raises NotFound for the agent, IdempotencyKeyReused, Stopping.
        """
        self._check_open()
        key = asked.idempotency
        if key is not None:
            key = key._replace(fingerprint=f"{agent_id} {key.fingerprint}")
        session = await self.create_session(principal, agent_id, idempotency=key)
        try:
            return await self._open(session, NOTHING_KNOWN, message, asked)
        except HectorError:
            if key is None:  # with a key, another request may be at work in it
                with suppress(HectorError):
                    await self._store.delete_session(principal, session.id)
            raise

    async def cancel(self, principal: Principal, task_id: str) -> Task:
        """Ask the worker to stop; it does within a second. A task that waits ends at once.

        Raises NotFound, TaskNotCancelable.
        """
        while True:
            task = await self._store.request_cancel(principal, task_id)
            if task.state is not TaskState.SUBMITTED:
                return task
            # It was handed over, and ends with what it has said.
            task = await end_waiting(self._store, principal, task_id, TaskState.CANCELED)
            if task.state is TaskState.CANCELED:
                return task

    def abandon(self, principal: Principal, task: Task) -> None:
        """A client that asked for this turn has gone: if it was the last, cancel it, where its agent is set so.

        A turn that another process runs or keeps in line has its askers there, and goes on.
        """
        log = self._live.get(task.id)
        if log is None:
            return
        log.askers -= 1
        if log.askers > 0:
            return
        if self.agent(task.agent_id).cancels_on_disconnect:
            self._canceling.start(self._cancel(principal, task.id), name=f"abandon {task.id}")

    async def take_up(self, session: Session, *, seconds_left: float | None = None) -> bool:
        """Bring what waits in a session to its turn: whoever lined it up may be gone. Raises QueueUnavailable.

        False if its first task was sent to the queue from here not long ago: where that is long, it only has to wait.
        """
        if self._queue is None:
            self._lines.take_up(session, seconds_left=seconds_left)
            return True
        now = time.monotonic()
        self._sent = {task_id: at for task_id, at in self._sent.items() if now < at + SEND_AGAIN_SECONDS}
        if session.waiting[0] in self._sent:
            return False
        await self._queue.send(session.waiting[0])
        self._sent[session.waiting[0]] = now
        return True

    async def go_on(self, lease: Lease, *, seconds_left: float | None = None) -> None:
        """Run a claimed task that another process has submitted, and may have begun, until its turn ends here.

        Raises StoreUnavailable; then the lease runs out.
        """
        log = await self._running.go_on(self.agent(lease.session.agent_id), lease, seconds_left=seconds_left)
        if log is not None:
            await log.ended()

    async def drain(self) -> None:
        """Wait until no turn runs or waits in this process: no work outlives a Lambda invocation."""
        await self._claims.drain()
        await self._lines.drain()
        await self._running.drain()
        await self._canceling.done()

    async def stop(self, grace: float = 0.0) -> None:
        """Take no more turns, and leave what waits to other processes.

        Turns that run may go on for `grace` seconds; then they fail, and say so.
        """
        self._stopping = True
        await self._claims.drain()
        await self._lines.stop()
        await self._running.stop(grace)
        await self._canceling.done()

    async def _open(self, session: Session, known: Known, message: Message, asked: Asked) -> Task:
        self._check_open()
        served = self.agent(session.agent_id)
        policy = asked.policy or served.policy
        interrupts = policy is TurnPolicy.INTERRUPT
        # What a message interrupts waits for nothing but its end, and takes no place from it.
        most = LONGEST_LINE if interrupts else served.max_waiting
        queueing = Queueing(0 if policy is TurnPolicy.REJECT else most, interrupt=interrupts)
        take = self._claims.in_line if asked.background else self._claims.at_once
        taking = take(session, self._new_task(session, message), queueing, asked.idempotency)
        claimed = await self._claims.whole(taking)
        if claimed.waits and asked.background and self._queue is not None:
            await send(self._queue, claimed.task.id)
        elif claimed.waits:
            self._lines.join(session, claimed.task, seconds_left=asked.seconds_left)
        elif claimed.lease is not None:
            try:
                if claimed.created:
                    await self._running.start(
                        served, claimed.lease, claimed.task, known=known, seconds_left=asked.seconds_left
                    )
                else:
                    await self._running.go_on(served, claimed.lease, seconds_left=asked.seconds_left)
            except BaseException:
                await self._claims.take_back(claimed)
                raise
        if (log := self._live.get(claimed.task.id)) is not None:
            log.askers += 1
        return claimed.task

    def _check_open(self) -> None:
        if self._stopping:
            raise Stopping("This server is being stopped. Send the message again, to another one or in a moment.")

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

    async def _cancel(self, principal: Principal, task_id: str) -> None:
        try:
            with suppress(NotFound):
                await self.cancel(principal, task_id)
        except HectorError as error:
            logger.info("task %s was not canceled as its client left: %s", task_id, error)
