"""Sessions made of turns that ended elsewhere: forks, and imports of what was exported."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

from hector.errors import IdempotencyKeyReused, InvalidRequest
from hector.model import Event, EventKind, Millis, Principal, Session, Task, copied_task_id, session_id_of
from hector.stores.base import Idempotency, StagedTurn, Store
from hector.turn_order import ended_turns
from hector.turns import Turns

PAGE = 20
"""Turns that are held in memory at once."""


async def fork(
    store: Store,
    turns: Turns,
    principal: Principal,
    session_id: str,
    *,
    through: str | None = None,
    ttl: Millis | None = None,
    metadata: dict[str, Any] | None = None,
    idempotency: Idempotency | None = None,
) -> Session:
    """A new session with the same agent and the turns so far, or up to the task `through`; independent from then on.

    Raises NotFound, and InvalidRequest for `through` and `ttl`.
    """
    source = await store.read_session(principal, session_id)
    if through is not None and not (
        session_id_of(through) == session_id and (await store.read_task(principal, through)).turn
    ):
        raise InvalidRequest("taskId must name a turn of this session that has ended.", field="taskId")
    draft = turns.draft_session(
        principal,
        source.agent_id,
        ttl=source.ttl if ttl is None else ttl,
        metadata=source.metadata if metadata is None else metadata,
    )
    taken = _through(ended_turns(store, principal, session_id), through)
    return await create_with(store, turns, draft, taken, lambda: idempotency)


async def create_with(
    store: Store,
    turns: Turns,
    draft: Session,
    ended: AsyncIterator[Task],
    idempotency: Callable[[], Idempotency | None],
) -> Session:
    """Create a session that has these turns behind it. Nobody sees anything of it before that, nor after a failure.

    A copied turn gets an id of the new session, and a log in which its answer is one piece. `idempotency` is asked for
    when all turns have been read.
    """
    count = 0
    at: Millis = 0
    batch: list[StagedTurn] = []
    try:
        async for task in ended:
            count += 1
            at = max(at, min(task.created_at, draft.created_at))
            batch.append(_copied(task, draft, at, count))
            if len(batch) == PAGE:
                await store.stage_turns(draft, batch)
                batch = []
        await store.stage_turns(draft, batch)
        # Its life begins now, however long that took.
        fresh = turns.draft_session(draft.principal, draft.agent_id, ttl=draft.ttl, metadata=draft.metadata)
        key = idempotency()
    except BaseException:
        await store.unstage(draft)
        raise
    try:
        session = await store.create_session(replace(fresh, id=draft.id, turns=count), idempotency=key)
    except IdempotencyKeyReused:
        await store.unstage(draft)
        raise
    if session.id != draft.id:
        await store.unstage(draft)
    return session


def _copied(task: Task, session: Session, at: Millis, turn: int) -> StagedTurn:
    text = task.output.text if task.output else ""
    log = [Event(1, EventKind.MESSAGE, text)] if text else []
    copied = replace(
        task,
        id=copied_task_id(session.id, at, turn),
        session_id=session.id,
        agent_id=session.agent_id,
        created_at=at,
        updated_at=max(at, min(task.updated_at, session.created_at)),
        turn=turn,
        last_event=len(log),
    )
    return StagedTurn(copied, log)


async def _through(turns: AsyncIterator[Task], last: str | None) -> AsyncIterator[Task]:
    async for task in turns:
        yield task
        if task.id == last:
            return
