"""The right to run a message: recorded and claimed, or lined up; and all of it taken back if that fails halfway."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Coroutine
from typing import Any, NamedTuple

from hector.concurrency import Background
from hector.errors import HectorError, LostTurn, NotFound, SessionBusy
from hector.log_writer import LEASE
from hector.model import Session, Task
from hector.recovery import Recovery
from hector.stores.base import Idempotency, Lease, Store

_ATTEMPTS = 3


class Queueing(NamedTuple):
    """How a message may wait: `most` of them at once (0: none), interrupting the turns before it, or not."""

    most: int
    interrupt: bool = False


class Claimed(NamedTuple):
    """A task and the right to run it. Without a lease it waits in the line, is somebody else's to run, or has ended.

    `created` is False for one from before: another process may have begun with it.
    """

    task: Task
    nonce: str
    created: bool = True
    lease: Lease | None = None
    waits: bool = False


class Claims:
    def __init__(self, store: Store, recovery: Recovery) -> None:
        self._store = store
        self._recovery = recovery
        self._taking_back = Background()

    async def at_once(
        self, session: Session, task: Task, queueing: Queueing, idempotency: Idempotency | None
    ) -> Claimed:
        """Record the task, and take the session for it; where it is busy, wait if that is allowed.

        With an idempotency key, it is the task that the key stands for. Raises SessionBusy, LineFull, NotFound,
        IdempotencyKeyReused.
        """
        busy = session.open_task_id or next(iter(session.waiting), None)
        if busy and queueing.most:
            return await self.in_line(session, task, queueing, idempotency)
        if idempotency is not None:
            return await self._once(session, task, queueing, idempotency)
        if busy:
            raise SessionBusy(busy)
        return await self._side_by_side(session, task, queueing)

    async def in_line(
        self, session: Session, task: Task, queueing: Queueing, idempotency: Idempotency | None
    ) -> Claimed:
        """Record the task, and line it up. Raises as `at_once` does."""
        for _ in range(_ATTEMPTS):
            claimed = await self._submit(task, idempotency)
            if claimed.task.state.terminal:
                return claimed
            try:
                return await self._line_up(session, claimed, queueing)
            except NotFound:
                if claimed.created:
                    raise
            # Whoever submitted it has taken it back.
        raise SessionBusy(task.id)

    async def whole(self, taking: Coroutine[Any, Any, Claimed]) -> Claimed:
        """What `at_once` or `in_line` claims. If whoever asks is canceled meanwhile: done, then taken back."""
        claiming = asyncio.create_task(taking)
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            self._taking_back.start(self._take_back_all(claiming))
            raise

    async def drain(self) -> None:
        """Wait until nothing is taken back any more."""
        await self._taking_back.done()

    async def claim(self, session: Session, task_id: str, *, nonce: str = "") -> Lease:
        """The lease, once every lost turn before it is closed. Raises SessionBusy, NotFound."""
        nonce, busy = nonce or secrets.token_hex(8), task_id
        for _ in range(_ATTEMPTS):
            try:
                return await self._store.claim(
                    session.principal, session.id, task_id, lease=LEASE, nonce=nonce, takeover=False
                )
            except LostTurn as lost:
                busy = lost.task_id
                if not await self._recovery.close(session.principal, busy):
                    break
        raise SessionBusy(busy)

    async def take_back(self, claimed: Claimed) -> None:
        """As if it had not been asked for: the session is free, and the task gone if we have submitted it.

        One from before has left the line with our claim: its lease runs out, so that it is not forgotten.
        """
        if not claimed.created:
            return
        with contextlib.suppress(HectorError):
            if claimed.lease is not None:
                await self._store.release(claimed.lease)
        with contextlib.suppress(HectorError):
            await self._store.discard(claimed.task, nonce=claimed.nonce)

    async def _take_back_all(self, claiming: asyncio.Task[Claimed]) -> None:
        with contextlib.suppress(HectorError, asyncio.CancelledError):
            await self.take_back(await claiming)

    async def _side_by_side(self, session: Session, task: Task, queueing: Queueing) -> Claimed:
        """Both writes at the same time; if either fails, the other is taken back."""
        claimed = Claimed(task, secrets.token_hex(8))
        submitted, lease = await asyncio.gather(
            self._store.submit(task, nonce=claimed.nonce), self.claim(session, task.id), return_exceptions=True
        )
        if isinstance(lease, SessionBusy) and queueing.most and not isinstance(submitted, BaseException):
            return await self._line_up(session, claimed, queueing)
        for failure in (lease, submitted):
            if isinstance(failure, BaseException):
                await self.take_back(claimed._replace(lease=lease if isinstance(lease, Lease) else None))
                raise failure
        assert isinstance(lease, Lease)
        return claimed._replace(lease=lease)

    async def _once(self, session: Session, task: Task, queueing: Queueing, idempotency: Idempotency) -> Claimed:
        """The task that the key stands for. It is for us to run only if nobody has begun to."""
        for _ in range(_ATTEMPTS):
            claimed = await self._submit(task, idempotency)
            if claimed.task.state.terminal:
                return claimed
            lease: Lease | None = None
            try:
                lease = await self.claim(session, claimed.task.id)
                claimed = claimed._replace(lease=lease)
                current = await self._store.read_task(session.principal, claimed.task.id)
            except SessionBusy as busy:
                if busy.task_id == claimed.task.id:
                    return claimed
                if queueing.most or await self._waits(session, claimed.task):
                    return await self._line_up(session, claimed, queueing)
                await self.take_back(claimed)
                raise
            except NotFound:
                if lease is not None:
                    await self._store.release(lease)
                continue  # whoever submitted it has taken it back
            except BaseException:
                await self.take_back(claimed)
                raise
            if not current.state.terminal:
                return claimed
            await self._store.release(lease)
            return claimed._replace(task=current, lease=None)
        raise SessionBusy(task.id)

    async def _submit(self, task: Task, idempotency: Idempotency | None) -> Claimed:
        nonce = secrets.token_hex(8)
        submitted = await self._store.submit(task, nonce=nonce, idempotency=idempotency)
        return Claimed(submitted.task, nonce, submitted.created)

    async def _waits(self, session: Session, task: Task) -> bool:
        return task.id in (await self._store.read_session(session.principal, session.id)).waiting

    async def _line_up(self, session: Session, claimed: Claimed, queueing: Queueing) -> Claimed:
        """The task in the line; one that is there, or whose turn is open, stays where it is."""
        try:
            for _ in range(_ATTEMPTS):
                try:
                    await self._store.line_up(
                        session.principal, claimed.task.id, most=queueing.most, interrupt=queueing.interrupt
                    )
                    return claimed._replace(waits=True)
                except LostTurn as lost:
                    if not await self._recovery.close(session.principal, lost.task_id):
                        raise SessionBusy(lost.task_id) from None
            raise SessionBusy(claimed.task.id)
        except BaseException:
            await self.take_back(claimed)
            raise
