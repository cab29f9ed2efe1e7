"""Rows ⇄ what the product is about."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from hector.model import Event, Principal, Session, StopReason, Summary, Task, TaskError, TaskState, Usage
from hector.stores.base import Outcome
from hector.stores.encoding import decoded_events, decoded_message, dumped, encoded_events, encoded_message
from hector.stores.record import Hot

Values = dict[str, Any]

BATCH_EVENTS = 256
"""The most events in one row."""


def owner_key(principal: Principal) -> str:
    """However long the names are: an index entry is bounded."""
    return digest(dumped([principal.tenant, principal.subject]))


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def summary_values(session_id: str, summary: Summary) -> Values:
    return {"session_id": session_id, "text": summary.text, "through": summary.through}


def session_values(session: Session) -> Values:
    """The row of a session in which no turn has begun."""
    return {
        "id": session.id,
        "owner": owner_key(session.principal),
        "principal": [session.principal.tenant, session.principal.subject],
        "agent": session.agent_id,
        "staged": False,
        "created_at": session.created_at,
        "last_expiry": session.last_expiry,
        "metadata": session.metadata,
        **hot_values(Hot.of(session)),
    }


def hot_values(hot: Hot) -> Values:
    """What turns change in it."""
    return {
        "last_activity_at": hot.session.last_activity_at,
        "ttl": hot.session.ttl,
        "idle_until": hot.idle_until,
        "expires_at": hot.session.expires_at,
        "turns": hot.session.turns,
        "fence": hot.fence,
        "open_task": hot.open_task,
        "lease_until": hot.lease_until,
        "lease_nonce": hot.lease_nonce,
        "cancel_requested": hot.cancel_requested,
        "line": [[task_id, task_id in hot.interrupting] for task_id in hot.waiting] or None,
    }


def hot_of(row: Any) -> Hot:
    tenant, subject = row.principal
    session = Session(
        id=row.id,
        agent_id=row.agent,
        principal=Principal(subject, tenant),
        created_at=row.created_at,
        ttl=row.ttl,
        expires_at=row.expires_at,
        last_expiry=row.last_expiry,
        last_activity_at=row.last_activity_at,
        turns=row.turns,
        metadata=row.metadata,
    )
    line = row.line or []
    return Hot(
        session,
        idle_until=row.idle_until,
        fence=row.fence,
        open_task=row.open_task,
        lease_until=row.lease_until,
        lease_nonce=row.lease_nonce,
        cancel_requested=row.cancel_requested,
        waiting=[task_id for task_id, _ in line],
        interrupting={task_id for task_id, interrupts in line if interrupts},
    )


def task_values(task: Task, nonce: str) -> Values:
    outcome = Outcome(task.state, task.last_event, task.output, task.usage, task.error, task.stop_reason)
    return {
        "session_id": task.session_id,
        "id": task.id,
        "agent": task.agent_id,
        "prompt": encoded_message(task.input),
        "created_at": task.created_at,
        "updated_at": task.updated_at,
        "turn": task.turn,
        "nonce": nonce,
        **outcome_values(outcome),
    }


def outcome_values(outcome: Outcome) -> Values:
    return {
        "state": outcome.state.value,
        "last_event": outcome.last_event,
        "answer": encoded_message(outcome.output) if outcome.output else None,
        "usage": [outcome.usage.input_tokens, outcome.usage.output_tokens] if outcome.usage else None,
        "error": [outcome.error.code, outcome.error.message] if outcome.error else None,
        "stop_reason": outcome.stop_reason and outcome.stop_reason.value,
    }


def task_of(row: Any) -> Task:
    return Task(
        id=row.id,
        session_id=row.session_id,
        agent_id=row.agent,
        state=TaskState(row.state),
        input=decoded_message(row.prompt),
        created_at=row.created_at,
        updated_at=row.updated_at,
        output=None if row.answer is None else decoded_message(row.answer),
        usage=None if row.usage is None else Usage(*row.usage),
        error=None if row.error is None else TaskError(*row.error),
        turn=row.turn,
        last_event=row.last_event,
        stop_reason=None if row.stop_reason is None else StopReason(row.stop_reason),
    )


def log_values(session_id: str, task_id: str, events: Sequence[Event]) -> list[Values]:
    batches = [events[start : start + BATCH_EVENTS] for start in range(0, len(events), BATCH_EVENTS)]
    return [
        {
            "session_id": session_id,
            "task_id": task_id,
            "first": batch[0].number,
            "last": batch[-1].number,
            "entries": encoded_events(batch),
        }
        for batch in batches
    ]


def events_of(row: Any) -> list[Event]:
    return decoded_events(row.first, row.entries)
