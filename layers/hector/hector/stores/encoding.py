"""Messages, events and outcomes ⇄ texts, for stores that keep structures as compact JSON."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any

from hector.model import Event, EventKind, Message, Part, Principal, Role, StopReason, TaskError, TaskState, Usage
from hector.stores.base import Outcome

_PLAIN = "text/plain"


def encoded(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def encoded_principal(principal: Principal) -> str:
    return encoded([principal.tenant, principal.subject])


def decoded_principal(text: str) -> Principal:
    tenant, subject = json.loads(text)
    return Principal(subject, tenant)


def encoded_message(message: Message) -> str:
    return encoded([message.role.value, *map(_of_part, message.parts)])


def decoded_message(text: str) -> Message:
    role, *parts = json.loads(text)
    return Message(Role(role), tuple(map(_part, parts)))


def encoded_event(event: Event) -> str:
    """All but its number, as JSON."""
    entry: dict[str, Any] = {"k": event.kind.value}
    if event.text:
        entry["t"] = event.text
    if event.state is not None:
        entry["s"] = event.state.value
    if event.fraction is not None:
        entry["f"] = event.fraction
    if event.error is not None:
        entry["e"] = [event.error.code, event.error.message]
    if event.stop_reason is not None:
        entry["r"] = event.stop_reason.value
    return encoded(entry)


def decoded_event(number: int, text: str) -> Event:
    entry = json.loads(text)
    return Event(
        number,
        EventKind(entry["k"]),
        entry.get("t", ""),
        TaskState(entry["s"]) if "s" in entry else None,
        entry.get("f"),
        TaskError(*entry["e"]) if "e" in entry else None,
        StopReason(entry["r"]) if "r" in entry else None,
    )


def encoded_outcome(outcome: Outcome) -> dict[str, str]:
    """What a turn's end adds to its task, by name; `decoded_outcome` reads it back."""
    values = {"state": outcome.state.value, "last_event": str(outcome.last_event)}
    if outcome.output is not None:
        values["output"] = encoded_message(outcome.output)
    if outcome.usage is not None:
        values["usage"] = encoded([outcome.usage.input_tokens, outcome.usage.output_tokens])
    if outcome.error is not None:
        values["error"] = encoded([outcome.error.code, outcome.error.message])
    if outcome.stop_reason is not None:
        values["stop_reason"] = outcome.stop_reason.value
    return values


def decoded_outcome(values: dict[str, str]) -> Outcome:
    return Outcome(
        TaskState(values["state"]),
        int(values.get("last_event", 0)),
        decoded_message(values["output"]) if "output" in values else None,
        Usage(*json.loads(values["usage"])) if "usage" in values else None,
        TaskError(*json.loads(values["error"])) if "error" in values else None,
        StopReason(values["stop_reason"]) if "stop_reason" in values else None,
    )


def _of_part(part: Part) -> str | list[str] | dict[str, str]:
    """The shortest of three forms: a plain text; a text with its media type; all of it, bytes as base64."""
    if part.text is not None and part.filename is None:
        return part.text if part.media_type == _PLAIN else [part.text, part.media_type]
    entry = {"m": part.media_type}
    if part.text is not None:
        entry["t"] = part.text
    if part.raw is not None:
        entry["r"] = b64encode(part.raw).decode()
    if part.url is not None:
        entry["u"] = part.url
    if part.filename is not None:
        entry["f"] = part.filename
    return entry


def _part(entry: str | list[str] | dict[str, str]) -> Part:
    if isinstance(entry, str):
        return Part(entry)
    if isinstance(entry, list):
        text, media_type = entry
        return Part(text, media_type)
    raw = b64decode(entry["r"]) if "r" in entry else None
    return Part(entry.get("t"), entry["m"], raw, entry.get("u"), entry.get("f"))
