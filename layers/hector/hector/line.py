"""Tasks that wait for their turn: this process brings those that lined up here to their turn, in the session's order.

A session has one line, which is in the store; every process that has tasks in it keeps it. Whoever finds the session
free begins with the first of them, if it is one of its own. Another's is begun with, too, once it has been next for a
while and nobody came: its process is gone.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from hector.agents.base import ServedAgent
from hector.claims import Claims
from hector.errors import NotFound, QueueUnavailable, SessionBusy, StoreUnavailable
from hector.live import LiveLog, LiveLogs
from hector.model import Session, Task
from hector.patience import gave_up, leave_line
from hector.queues.base import WorkQueue
from hector.running import Running
from hector.stores.base import Clock, Lease, Store

logger = logging.getLogger(__name__)

GRACE_SECONDS = 3.0
"""How long another process's task may be next in a free session before it is taken over."""

ENOUGH_SECONDS = 15.0
"""A turn whose process has less than this left begins elsewhere, if it can."""

_FIRST_POLL_SECONDS = 0.05
_LONGEST_POLL_SECONDS = 0.5
_TRIES = 10


class _Waiting(NamedTuple):
    """`leaves_at`: when this process has to go, on the event loop's clock."""

    task: Task
    log: LiveLog
    leaves_at: float | None


class Lines:
    def __init__(
        self,
        store: Store,
        live: LiveLogs,
        claims: Claims,
        running: Running,
        agent: Callable[[str], ServedAgent],
        clock: Clock,
        queue: WorkQueue | None,
    ) -> None:
        self.store = store
        self.live = live
        self.claims = claims
        self.running = running
        self.agent = agent
        self.now = clock
        self.queue = queue
        self._keepers: dict[str, Keeper] = {}
        self._tasks: dict[asyncio.Task[None], Keeper] = {}

    def join(self, session: Session, task: Task, *, seconds_left: float | None = None) -> None:
        """Bring a task that has lined up to its turn; its live log is open from now on."""
        if self.live.get(task.id) is None:
            self._keeper(session).add(_Waiting(task, self.live.open(task.id), _moment(seconds_left)))

    def take_up(self, session: Session, *, seconds_left: float | None = None) -> None:
        """Bring all that waits in the session to its turn: whoever lined it up may be gone."""
        self._keeper(session).keep_for_all(_moment(seconds_left))

    async def drain(self) -> None:
        """Wait until nothing waits here."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def stop(self) -> None:
        """Leave what waits to other processes."""
        for task, keeper in self._tasks.items():
            keeper.stopping = True
            if not keeper.beginning:
                task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    def _keeper(self, session: Session) -> Keeper:
        keeper = self._keepers.get(session.id)
        if keeper is None:
            keeper = self._keepers[session.id] = Keeper(self, session)
            task = asyncio.create_task(self._keep(keeper, session.id), name=f"line {session.id}")
            self._tasks[task] = keeper
            task.add_done_callback(self._tasks.pop)
        return keeper

    async def _keep(self, keeper: Keeper, session_id: str) -> None:
        try:
            await keeper.run()
        except Exception:
            logger.exception("the line of session %s is kept no more", session_id)
        finally:
            # In the same step as the keeper's last look at what waits: who comes now gets a new one.
            del self._keepers[session_id]
            keeper.leave()


class Keeper:
    """Keeps the line of one session, as long as tasks of this process are in it (or `for_all`: any tasks)."""

    def __init__(self, lines: Lines, session: Session) -> None:
        self._for_all = False
        self._all_until: float | None = None
        self.stopping = False
        self.beginning = False
        """A turn that is claimed right now: it would be lost if the keeper were stopped."""
        self._lines = lines
        self._store = lines.store
        self._session = session
        self._waiting: dict[str, _Waiting] = {}
        self._nonce = secrets.token_hex(8)
        self._claiming: str | None = None
        """A task whose claim may have taken effect, though no answer came; the same nonce will tell."""
        self._next: str | None = None
        self._next_since = 0.0
        self._poll = _FIRST_POLL_SECONDS
        self._loop = asyncio.get_running_loop()

    def add(self, waiting: _Waiting) -> None:
        self._waiting[waiting.task.id] = waiting

    def keep_for_all(self, until: float | None) -> None:
        self._for_all, self._all_until = True, until

    def leave(self) -> None:
        """Followers of what still waits are told to ask the store."""
        for task_id in list(self._waiting):
            self._forget(task_id)

    async def run(self) -> None:
        while (self._waiting or self._for_all) and not self.stopping:
            known = list(self._waiting.values())
            self._for_all = self._for_all and not self._is_over(self._all_until, seconds=ENOUGH_SECONDS)
            try:
                self._session = await self._store.read_session(self._session.principal, self._session.id)
                await self._settle(known)
                await self._step()
            except NotFound:
                return
            except (StoreUnavailable, QueueUnavailable) as error:
                logger.warning("the line of session %s has to wait: %s", self._session.id, error)
                for waiting in known:
                    if self._is_over(waiting.leaves_at):
                        self._forget(waiting.task.id)  # it is in the line, durable: others, or a sweep, come to it
                await asyncio.sleep(_LONGEST_POLL_SECONDS)

    def _is_over(self, leaves_at: float | None, *, seconds: float = 0.0) -> bool:
        """Whether this process has no more than so many seconds left."""
        return leaves_at is not None and self._loop.time() >= leaves_at - seconds

    async def _settle(self, known: list[_Waiting]) -> None:
        """Let go of those that wait no more, and end those that have waited for too long."""
        served = self._lines.agent(self._session.agent_id)
        for waiting in known:
            task = waiting.task
            if task.id == self._claiming:
                continue
            if task.id not in self._session.waiting:
                self._forget(task.id)
                continue
            if not self._is_over(waiting.leaves_at):
                if await gave_up(self._store, self._session.principal, task, served, self._lines.now()):
                    self._forget(task.id)
                continue
            if self._lines.queue is None:
                until_now = "until this function's time was over"
                await leave_line(self._store, self._session.principal, task.id, until_now)
            else:
                await send(self._lines.queue, task.id)
            self._forget(task.id)

    async def _step(self) -> None:
        """Begin with the next in line if the session is free; else wait a little."""
        open_task, line = self._session.open_task_id, self._session.waiting
        if self._claiming is not None:
            await self._begin(self._claiming, self._waiting.get(self._claiming))
        elif open_task is not None or not line:
            self._next = None
            self._for_all = self._for_all and bool(line)
            await self._pause(open_task)
        elif line[0] in self._waiting:
            await self._have_its_turn(self._waiting[line[0]])
        elif line[0] != self._next:
            self._next, self._next_since = line[0], self._loop.time()
        elif self._loop.time() >= self._next_since + GRACE_SECONDS:
            await self._take_over(line[0])
        else:
            await self._pause(None)

    async def _have_its_turn(self, waiting: _Waiting) -> None:
        task_id, queue = waiting.task.id, self._lines.queue
        if queue is not None and self._is_over(waiting.leaves_at, seconds=ENOUGH_SECONDS):
            await send(queue, task_id)
            self._forget(task_id)
        else:
            await self._begin(task_id, waiting)

    async def _take_over(self, task_id: str) -> None:
        """Run a task that another process has left in the line; one that has waited for too long only leaves it."""
        principal, queue = self._session.principal, self._lines.queue
        if queue is not None and self._leaves_at() is not None:
            await send(queue, task_id)  # this process has to go, and may not see its end
            self._next = None
            return
        with suppress(NotFound):  # its message is gone: it is claimed to leave the line
            task = await self._store.read_task(principal, task_id)
            served = self._lines.agent(self._session.agent_id)
            if task.state.terminal or await gave_up(self._store, principal, task, served, self._lines.now()):
                await leave_line(self._store, principal, task_id, "for too long")
                return
        await self._begin(task_id, None)

    async def _begin(self, task_id: str, waiting: _Waiting | None) -> None:
        self._poll = _FIRST_POLL_SECONDS
        self._claiming, self.beginning = task_id, True
        try:
            await self._claim_and_run(task_id, waiting)
        finally:
            self.beginning = False

    async def _claim_and_run(self, task_id: str, waiting: _Waiting | None) -> None:
        try:
            lease = await self._lines.claims.claim(self._session, task_id, nonce=self._nonce)
        except SessionBusy as busy:
            self._claiming = None
            await self._pause(busy.task_id)
            return
        self._claiming = None
        self._waiting.pop(task_id, None)
        log = waiting.log if waiting else None
        begun = False
        try:
            begun = await self._patiently(lease, waiting)
        except NotFound:
            await self._store.release(lease)
        finally:
            if not begun and log is not None:
                log.close(None)
                self._lines.live.forget(task_id, log)

    async def _run(self, lease: Lease, waiting: _Waiting | None) -> bool:
        """Whether the turn has begun. It has not, and need not, where the task was canceled in this very moment."""
        served = self._lines.agent(lease.session.agent_id)
        leaves_at = self._leaves_at() if waiting is None else waiting.leaves_at
        left = None if leaves_at is None else leaves_at - self._loop.time()
        log = waiting.log if waiting else None
        return await self._lines.running.go_on(served, lease, log=log, seconds_left=left) is not None

    def _leaves_at(self) -> float | None:
        """When this process has to go, if it has to."""
        known = [self._all_until, *(each.leaves_at for each in self._waiting.values())]
        return min((leaves_at for leaves_at in known if leaves_at is not None), default=None)

    async def _patiently(self, lease: Lease, waiting: _Waiting | None) -> bool:
        """Again while the store is away, for less than a lease; then it runs out, and whoever meets it says so."""
        for _ in range(_TRIES):
            with suppress(StoreUnavailable):
                return await self._run(lease, waiting)
            await asyncio.sleep(_LONGEST_POLL_SECONDS)
        return False

    async def _pause(self, open_task: str | None) -> None:
        """Until the running turn ends, if it runs here; else for a moment."""
        log = self._lines.live.get(open_task) if open_task else None
        if log is not None and not log.closed:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LONGEST_POLL_SECONDS):  # wait_for may swallow a cancel on Python 3.11
                    await log.ended()
            return
        await asyncio.sleep(self._poll)
        self._poll = min(self._poll * 1.5, _LONGEST_POLL_SECONDS)

    def _forget(self, task_id: str) -> None:
        """Followers of the task are told to ask the store."""
        waiting = self._waiting.pop(task_id, None)
        if waiting is not None:
            waiting.log.close(None)
            self._lines.live.forget(task_id, waiting.log)


def _moment(seconds_left: float | None) -> float | None:
    """When so many seconds are over, on the event loop's clock."""
    return None if seconds_left is None else asyncio.get_running_loop().time() + seconds_left


async def send(queue: WorkQueue, task_id: str) -> None:
    """Let a worker look after a task that is in the line, durable: without the queue, the next sweep does."""
    try:
        await queue.send(task_id)
    except QueueUnavailable as error:
        logger.error("task %s has to wait for a sweep: %s", task_id, error.message)
