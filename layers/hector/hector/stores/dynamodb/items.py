"""Sessions, tasks and events ⇄ rows. Texts are kept as they are, structures as compact JSON.

Writes are billed by the started kilobyte, so a row says nothing twice: ids come out of keys, the last activity out of
the index key, and an event that is a piece of the answer is just its text.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator, Sequence
from typing import Any

from hector.errors import InvalidRequest
from hector.model import (
    Event,
    Millis,
    Principal,
    Session,
    StopReason,
    Summary,
    Task,
    TaskError,
    TaskState,
    Usage,
)
from hector.stores.base import Idempotency, Lease, Outcome
from hector.stores.cursors import activity_key
from hector.stores.dynamodb.overflow import MOST_BYTES
from hector.stores.dynamodb.rows import Key, Row
from hector.stores.encoding import decoded_events, decoded_message, dumped, encoded_event, encoded_message

BATCH_EVENTS = 128
"""The most events in one row, so that a reader knows how far back the row may begin that holds a number."""

LAST_NUMBER = 9_999_999
TASKS, TASKS_END = "task#", "task#~"
"""Between these sort keys lie the tasks of a session, in the order in which they were submitted."""

INTERRUPTS = "!"
"""Ends the entry of a task in the line that cancels what is before it."""

_DAY: Millis = 86_400_000
_GRACE_SECONDS = 60
_PLAIN = "text/plain"
_OWNER_BYTES = 1024


def hot_key(session_id: str) -> Key:
    return session_id, "hot"


def meta_key(session_id: str) -> Key:
    return session_id, "meta"


def marker_key(session_id: str) -> Key:
    return session_id, "staging"


def summary_key(session_id: str) -> Key:
    return session_id, "summary"


def task_key(task_id: str) -> Key:
    session_id, _, suffix = task_id.rpartition("-")
    return session_id, f"task#{suffix}"


def log_key(task_id: str, number: int) -> Key:
    session_id, _, suffix = task_id.rpartition("-")
    return session_id, f"log#{suffix}#{number:07d}"


def idempotency_key(session_id: str, key: str) -> Key:
    return session_id, "key#" + hashlib.sha256(key.encode()).hexdigest()[:40]


def suffix_of(task_id: str) -> str:
    return task_id.rpartition("-")[2]


def owner_key(principal: Principal) -> str:
    return dumped([principal.tenant, principal.subject])


def seconds(at: Millis) -> int:
    """Rounded up, as the table's TTL attribute counts."""
    return -(-at // 1000)


def far(last_expiry: Millis) -> int:
    """The TTL of everything but the hot record: a safety net, a day after the session can last."""
    return seconds(last_expiry + _DAY)


def hot_row(session: Session) -> Row:
    owner = owner_key(session.principal)
    if len(owner.encode()) > _OWNER_BYTES:
        raise InvalidRequest("The caller's tenant and subject are too long: together at most 1,000 bytes.")
    pk, sk = hot_key(session.id)
    row: Row = {
        "pk": pk,
        "sk": sk,
        "owner_key": owner,
        "activity": activity_key(session),
        "agent": session.agent_id,
        "created_at": session.created_at,
        "idle_ms": session.ttl,
        "idle_until": session.expires_at,
        "last_expiry": session.last_expiry,
        "turns": session.turns,
        "fence": 0,
        "keep": seconds(session.ttl) + _GRACE_SECONDS,
        "ttl": seconds(session.expires_at) + _GRACE_SECONDS,
    }
    return row | {"meta": True} if session.metadata else row


def idle_values(ttl: Millis, now: Millis) -> Row:
    """What a new `ttl` changes in the hot record, from now on."""
    keep = seconds(ttl) + _GRACE_SECONDS
    return {"idle_ms": ttl, "idle_until": now + ttl, "keep": keep, "ttl": seconds(now) + keep}


def expires_at(hot: Row) -> Millis:
    """A session lasts until it has idled for its `ttl`, or has reached its last expiry; an open turn keeps it."""
    return max(min(int(hot["idle_until"]), int(hot["last_expiry"])), int(hot.get("lease_until", 0)))


def open_task_id(hot: Row) -> str | None:
    return f"{hot['pk']}-{hot['open_task']}" if "open_task" in hot else None


def line_entries(task_id: str) -> tuple[str, str]:
    """What stands for a task in the line: one that waits politely, and one that interrupts."""
    suffix = suffix_of(task_id)
    return suffix, suffix + INTERRUPTS


def waiting_ids(hot: Row) -> tuple[str, ...]:
    return tuple(f"{hot['pk']}-{entry.removesuffix(INTERRUPTS)}" for entry in hot.get("waiting", ()))


def principal_of(hot: Row) -> Principal:
    tenant, subject = json.loads(hot["owner_key"])
    return Principal(subject, tenant)


def session_of(hot: Row, metadata: dict[str, Any], now: Millis) -> Session:
    return Session(
        id=hot["pk"],
        agent_id=hot["agent"],
        principal=principal_of(hot),
        created_at=hot["created_at"],
        ttl=hot["idle_ms"],
        expires_at=expires_at(hot),
        last_expiry=hot["last_expiry"],
        last_activity_at=int(hot["activity"].partition(".")[0]),
        turns=hot["turns"],
        open_task_id=open_task_id(hot) if hot.get("lease_until", 0) > now else None,
        waiting=waiting_ids(hot),
        metadata=metadata,
    )


def lease_of(hot: Row, metadata: dict[str, Any], now: Millis) -> Lease:
    interrupted = any(entry.endswith(INTERRUPTS) for entry in hot.get("waiting", ()))
    return Lease(
        session=session_of(hot, metadata, now),
        task_id=open_task_id(hot) or "",
        fence=hot["fence"],
        until=hot["lease_until"],
        cancel_requested=interrupted or hot.get("cancel") == hot["open_task"],
    )


def meta_row(session_id: str, metadata: dict[str, Any], last_expiry: Millis) -> Row:
    """Its nonce tells it from one that the session had in a former life."""
    pk, sk = meta_key(session_id)
    nonce = secrets.token_hex(4)
    return {"pk": pk, "sk": sk, "metadata": dumped(metadata), "nonce": nonce, "ttl": far(last_expiry)}


def metadata_of(hot: Row, meta: Row | None) -> dict[str, Any]:
    """The hot record says whether there is any."""
    return json.loads(meta["metadata"]) if meta and "meta" in hot else {}


def marker_row(session: Session, nonce: str) -> Row:
    """Written before the turns that are staged for a session: see `staging`."""
    pk, sk = marker_key(session.id)
    return {"pk": pk, "sk": sk, "staged": nonce, "ttl": far(session.last_expiry)}


def summary_row(session: Session, summary: Summary, *, fence: int) -> Row:
    pk, sk = summary_key(session.id)
    return {
        "pk": pk,
        "sk": sk,
        "summary": summary.text,
        "through": summary.through,
        "fence": fence,
        "ttl": far(session.last_expiry),
    }


def summary_of(row: Row) -> Summary:
    return Summary(row["summary"], row["through"])


def pointer_row(task: Task, idempotency: Idempotency, last_expiry: Millis) -> Row:
    pk, sk = idempotency_key(task.session_id, idempotency.key)
    return {
        "pk": pk,
        "sk": sk,
        "target": suffix_of(task.id),
        "fingerprint": idempotency.fingerprint,
        "ttl": far(last_expiry),
    }


def task_row(task: Task, nonce: str, last_expiry: Millis, pointer: str | None) -> Row:
    pk, sk = task_key(task.id)
    row: Row = {
        "pk": pk,
        "sk": sk,
        "agent": task.agent_id,
        "task_state": task.state.value,
        "prompt": dumped(encoded_message(task.input)),
        "created_at": task.created_at,
        "updated_at": task.updated_at,
        "nonce": nonce,
        "ttl": far(last_expiry),
    }
    return row if pointer is None else row | {"pointer": pointer}


def ended_row(task: Task, last_expiry: Millis) -> Row:
    """A task that ended elsewhere."""
    outcome = Outcome(task.state, task.last_event, task.output, task.usage, task.error, task.stop_reason)
    turn = {"turn": task.turn, "fence": 0} if task.turn else {}
    return task_row(task, "", last_expiry, None) | outcome_values(outcome) | turn


def task_id_of(row: Row) -> str:
    return f"{row['pk']}-{row['sk'].partition('#')[2]}"


def task_of(row: Row) -> Task:
    return Task(
        id=task_id_of(row),
        session_id=row["pk"],
        agent_id=row["agent"],
        state=TaskState(row["task_state"]),
        input=decoded_message(json.loads(row["prompt"])),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        output=decoded_message(json.loads(row["answer"])) if "answer" in row else None,
        usage=Usage(*json.loads(row["tokens"])) if "tokens" in row else None,
        error=TaskError(*json.loads(row["failure"])) if "failure" in row else None,
        turn=row.get("turn", 0),
        last_event=row.get("last_event", 0),
        stop_reason=StopReason(row["stop_reason"]) if "stop_reason" in row else None,
    )


def outcome_values(outcome: Outcome) -> Row:
    """What a turn's end adds to the task's row."""
    values: Row = {"task_state": outcome.state.value, "last_event": outcome.last_event}
    if outcome.output is not None:
        values["answer"] = dumped(encoded_message(outcome.output))
    if outcome.usage is not None:
        values["tokens"] = dumped([outcome.usage.input_tokens, outcome.usage.output_tokens])
    if outcome.error is not None:
        values["failure"] = dumped([outcome.error.code, outcome.error.message])
    if outcome.stop_reason is not None:
        values["stop_reason"] = outcome.stop_reason.value
    return values


def log_rows(task_id: str, events: Sequence[Event], fence: int, last_expiry: Millis) -> list[Row]:
    """Each row takes so many events as an item can hold; one that is too large for an item has a row to itself."""
    rows: list[Row] = []
    for first, entries in _batches(events):
        pk, sk = log_key(task_id, first)
        rows.append({"pk": pk, "sk": sk, "events": f"[{','.join(entries)}]", "fence": fence, "ttl": far(last_expiry)})
    return rows


def _batches(events: Sequence[Event]) -> Iterator[tuple[int, list[str]]]:
    """The number of the first event, and the events as JSON."""
    batch: list[str] = []
    first = size = 0
    for event in events:
        entry = dumped(encoded_event(event))
        bytes_ = len(entry.encode()) + 1
        if batch and (len(batch) == BATCH_EVENTS or size + bytes_ >= MOST_BYTES["events"]):
            yield first, batch
            batch, size = [], 0
        first = first if batch else event.number
        batch.append(entry)
        size += bytes_
    if batch:
        yield first, batch


def first_number(log: Row) -> int:
    return int(log["sk"].rpartition("#")[2])


def events_of(row: Row) -> list[Event]:
    return decoded_events(first_number(row), json.loads(row["events"]))
