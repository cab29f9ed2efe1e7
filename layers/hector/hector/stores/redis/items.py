"""Sessions, tasks and events ⇄ what Redis holds. Everything is a text; within a session, ids are suffixes alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from hector.model import Event, EventKind, Millis, Principal, Session, Task
from hector.stores.base import Idempotency, Lease, Outcome
from hector.stores.encoding import dumped
from hector.stores.redis.encoding import (
    decoded_event,
    decoded_message,
    decoded_outcome,
    decoded_principal,
    encoded_event,
    encoded_message,
    encoded_outcome,
    encoded_principal,
)

Fields = dict[str, str]

NUMBERS = (
    "created_at",
    "ttl",
    "idle_until",
    "last_expiry",
    "activity",
    "turns",
    "fence",
    "lease_until",
    "kept",
)
FIELDS = ("owner", "agent", *NUMBERS, "open", "lease_nonce", "cancel", "line", "key")
"""Of the hot record, without what may be large: `metadata`, `summary` and how far that goes, `through`."""

DAY: Millis = 86_400_000
_LARGEST_NUMBER = 10**15


def suffix_of(task_id: str) -> str:
    return task_id.rpartition("-")[2]


def hashed(*texts: str) -> str:
    return hashlib.sha256(dumped(texts).encode()).hexdigest()[:40]


def hot_fields(session: Session, key: str) -> Fields:
    numbers = {
        "created_at": session.created_at,
        "ttl": session.ttl,
        "idle_until": session.expires_at,
        "last_expiry": session.last_expiry,
        "activity": session.last_activity_at,
        "turns": session.turns,
        "fence": 0,
        "lease_until": 0,
        "kept": max(session.last_expiry, session.expires_at) + DAY,
    }
    fields = {
        "owner": encoded_principal(session.principal),
        "agent": session.agent_id,
        **{name: str(number) for name, number in numbers.items()},
        "metadata": dumped(session.metadata) if session.metadata else "",
    }
    return fields | {"key": key} if key else fields


def hot_of(values: Sequence[str | None]) -> Fields | None:
    """The hot record from the values of FIELDS and whatever was read after them, in order; None if there is none."""
    if values[0] is None:
        return None
    return dict(zip((*FIELDS, "metadata"), (value or "" for value in values), strict=False))


def expires_at(hot: Fields) -> Millis:
    return max(int(hot["idle_until"]), int(hot["lease_until"]))


def waiting(session_id: str, line: str) -> tuple[str, ...]:
    return tuple(f"{session_id}-{entry.lstrip('!')}" for entry in line.split(",") if entry)


def session_of(session_id: str, hot: Fields, now: Millis) -> Session:
    return Session(
        id=session_id,
        agent_id=hot["agent"],
        principal=decoded_principal(hot["owner"]),
        created_at=int(hot["created_at"]),
        ttl=int(hot["ttl"]),
        expires_at=expires_at(hot),
        last_expiry=int(hot["last_expiry"]),
        last_activity_at=int(hot["activity"]),
        turns=int(hot["turns"]),
        open_task_id=f"{session_id}-{hot['open']}" if hot["open"] and int(hot["lease_until"]) > now else None,
        waiting=waiting(session_id, hot["line"]),
        metadata=json.loads(hot["metadata"]) if hot.get("metadata") else {},
    )


def lease_of(session_id: str, hot: Fields, now: Millis) -> Lease:
    return Lease(
        session=session_of(session_id, hot, now),
        task_id=f"{session_id}-{hot['open']}",
        fence=int(hot["fence"]),
        until=int(hot["lease_until"]),
        cancel_requested=hot["cancel"] == hot["open"] or "!" in hot["line"],
    )


def renewed(lease: Lease, hot: Fields, now: Millis) -> Lease:
    """The lease as it is now. The metadata is that of the claim: it may be large, and is not read again."""
    found = lease_of(lease.session.id, hot, now)
    return found._replace(session=replace(found.session, metadata=lease.session.metadata))


def task_fields(task: Task, nonce: str) -> Fields:
    return {
        "agent": task.agent_id,
        "input": encoded_message(task.input),
        "created_at": str(task.created_at),
        "updated_at": str(task.updated_at),
        "state": task.state.value,
        "nonce": nonce,
    }


def ended_fields(task: Task) -> Fields:
    """A task that ended elsewhere."""
    outcome = Outcome(task.state, task.last_event, task.output, task.usage, task.error, task.stop_reason)
    return {**task_fields(task, ""), **encoded_outcome(outcome), "turn": str(task.turn)}


def task_of(session_id: str, suffix: str, values: Fields | Iterable[str]) -> Task:
    """`values` as Redis hands over a hash: names and values by turns."""
    fields = values if isinstance(values, dict) else paired(values)
    outcome = decoded_outcome(fields)
    return Task(
        id=f"{session_id}-{suffix}",
        session_id=session_id,
        agent_id=fields["agent"],
        state=outcome.state,
        input=decoded_message(fields["input"]),
        created_at=int(fields["created_at"]),
        updated_at=int(fields["updated_at"]),
        output=outcome.output,
        usage=outcome.usage,
        error=outcome.error,
        turn=int(fields.get("turn", 0)),
        last_event=outcome.last_event,
        stop_reason=outcome.stop_reason,
    )


def paired(values: Iterable[str]) -> Fields:
    entries = iter(values)
    return dict(zip(entries, entries, strict=True))


def flat(fields: Fields) -> list[str]:
    return [text for pair in fields.items() for text in pair]


def entries_of(events: Sequence[Event]) -> list[str]:
    """A field and a value for each: a piece of the answer is just its text."""
    entries: list[str] = []
    for event in events:
        plain = event == Event(event.number, EventKind.MESSAGE, event.text)
        entries += ["t", event.text] if plain else ["e", encoded_event(event)]
    return entries


def events_of(entries: Sequence[tuple[str, Sequence[str]]], after: int) -> list[Event]:
    """Without gaps: what follows one is not shown."""
    events: list[Event] = []
    for id_, (name, value) in entries:
        number = int(id_.partition("-")[0])
        if number != after + len(events) + 1:
            break
        events.append(Event(number, EventKind.MESSAGE, value) if name == "t" else decoded_event(number, value))
    return events


def cursor_of(after: int) -> str:
    """A number that the engine can count to."""
    return str(max(0, min(after, _LARGEST_NUMBER)))


def pointer(session: Session, idempotency: Idempotency) -> str:
    """The times are the session's, so that whoever completes it after a crash makes the same one."""
    times = [session.created_at, session.expires_at, session.last_expiry, session.turns]
    return f"{session.id} {dumped([idempotency.fingerprint, *times])}"


def pointed_session(session: Session, value: str) -> tuple[Session, str]:
    """The session as whoever wrote the pointer was about to create it, and the fingerprint of the key's body."""
    id_, _, rest = value.partition(" ")
    fingerprint, created_at, until, last_expiry, turns = json.loads(rest)
    first = replace(
        session,
        id=id_,
        created_at=created_at,
        expires_at=until,
        last_expiry=last_expiry,
        last_activity_at=created_at,
        turns=turns,
    )
    return first, fingerprint


class Keys:
    """The names of keys."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.every_session = f"{prefix}:{{all}}:sessions"
        self.by_expiry = f"{prefix}:{{all}}:expiry"
        self.active = f"{prefix}:{{all}}:active"

    def hot(self, session_id: str) -> str:
        return f"{self._prefix}:{{{session_id}}}"

    def parts(self, session_id: str, suffix: str, names: Sequence[str]) -> list[str]:
        """What lies beside a session's hot record: `task` and `log` are those of one task."""
        hot = self.hot(session_id)
        return [f"{hot}:{name}:{suffix}" if name in ("task", "log") else f"{hot}:{name}" for name in names]

    def log(self, task_id: str) -> str:
        session_id, _, suffix = task_id.rpartition("-")
        return f"{self.hot(session_id)}:log:{suffix}"

    def wake(self, session_id: str) -> str:
        return f"{self.hot(session_id)}:wake"

    def owner(self, principal: Principal) -> str:
        return f"{self._prefix}:owner:{hashed(encoded_principal(principal))}"

    def pointer(self, principal: Principal, key: str) -> str:
        return f"{self._prefix}:key:{hashed(encoded_principal(principal), key)}"


Reply = list[Any]
