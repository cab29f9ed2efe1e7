"""The log of a task as a whole: what another process has said of an answer."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable

from hector.model import Event, EventKind, Message, Principal, Role, Task, TaskError, TaskState
from hector.stores.base import Outcome, Store

_TAKEN = re.compile(r"after (\d+\.\d) seconds")


async def read_log(store: Store, principal: Principal, task_id: str) -> list[Event]:
    """Every event that is stored. Raises NotFound."""
    events: list[Event] = []
    while (page := await store.read_events(principal, task_id, after=len(events))).events:
        events += page.events
    return events


async def end_waiting(
    store: Store, principal: Principal, task_id: str, state: TaskState, error: TaskError | None = None
) -> Task:
    """End a task that waits, with what it had said before; as it is, if it has begun or ended. Raises NotFound."""
    outcome = ended_early(state, await read_log(store, principal, task_id), error)
    return await store.leave_line(principal, task_id, outcome, nonce=secrets.token_hex(8))


def handed_over(seconds: float) -> str:
    """What the log says where another process goes on, after a turn has taken so many seconds in all."""
    return f"Another process goes on with this answer, after {seconds:.1f} seconds."


def seconds_taken(events: Iterable[Event]) -> float:
    """How long a turn has run in the processes that have handed it over."""
    told = [_TAKEN.search(event.text) for event in events if event.state is TaskState.SUBMITTED]
    return max((float(found[1]) for found in told if found), default=0.0)


def text_of(events: Iterable[Event]) -> str:
    """The answer, as far as it has been told."""
    return "".join(event.text for event in events if event.kind is EventKind.MESSAGE)


def ended_early(state: TaskState, log: list[Event], error: TaskError | None = None) -> Outcome:
    """The outcome of a turn that says nothing more, with what its log holds."""
    text = text_of(log)
    return Outcome(state, len(log), Message.of(Role.AGENT, text) if text else None, error=error)
