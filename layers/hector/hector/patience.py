"""Tasks that have waited for their turn for too long, and end without one."""

from __future__ import annotations

import secrets
from contextlib import suppress

from hector.agents.base import ServedAgent
from hector.errors import NotFound
from hector.model import Millis, Principal, Task, TaskError, TaskState
from hector.stores.base import Outcome, Store

WAIT_TIMEOUT = "wait_timeout"


async def gave_up(store: Store, principal: Principal, task: Task, served: ServedAgent, now: Millis) -> bool:
    """Whether a task has waited for too long, and has not begun; then it ends, and leaves the line."""
    waited = task.state is TaskState.SUBMITTED and now >= task.created_at + served.max_wait * 1000
    if not waited or (await store.read_events(principal, task.id, after=0, limit=1)).events:
        return False
    await leave_line(store, principal, task.id, f"for {served.max_wait:g} seconds")
    return True


async def leave_line(store: Store, principal: Principal, task_id: str, how_long: str) -> Task | None:
    """The task, which has not begun and ends; as it is, if it has begun or ended; None if there is none any more."""
    message = f"The session was busy {how_long}, and this message has waited no longer. Send it again."
    outcome = Outcome(TaskState.FAILED, 0, error=TaskError(WAIT_TIMEOUT, message))
    with suppress(NotFound):
        return await store.leave_line(principal, task_id, outcome, nonce=secrets.token_hex(8))
    return None
