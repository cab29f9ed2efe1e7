"""Messages and events ⇄ what JSON can hold, as compact as it reads well: for stores that keep texts."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Any

from hector.model import Event, EventKind, Message, Part, Principal, Role, StopReason, TaskError, TaskState

_PLAIN = "text/plain"


def dumped(value: Any) -> str:
    """Compact JSON without NUL characters; lone surrogates, which UTF-8 cannot hold, are escaped with all the rest."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"))
    return text


def loaded(text: str) -> Any:
    return json.loads(text)


def encoded_principal(principal: Principal) -> list[str]:
    return [principal.tenant, principal.subject]


def decoded_principal(entries: list[str]) -> Principal:
    tenant, subject = entries
    return Principal(subject, tenant)


def encoded_events(events: Iterable[Event]) -> list[Any]:
    """Without their numbers, which follow each other. A piece of the answer is just its text."""
    return [encoded_event(event) for event in events]


def decoded_events(first: int, entries: Iterable[Any]) -> list[Event]:
    return [decoded_event(number, entry) for number, entry in enumerate(entries, first)]


def encoded_message(message: Message) -> list[Any]:
    return [message.role.value, *map(_of_part, message.parts)]


def decoded_message(entries: list[Any]) -> Message:
    role, *parts = entries
    return Message(Role(role), tuple(map(_part, parts)))


def encoded_event(event: Event) -> str | dict[str, Any]:
    """All but its number."""
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
    return event.text if entry == {"k": EventKind.MESSAGE.value, "t": event.text} else entry


def decoded_event(number: int, entry: str | dict[str, Any]) -> Event:
    if isinstance(entry, str):
        return Event(number, EventKind.MESSAGE, entry)
    return Event(
        number,
        EventKind(entry["k"]),
        entry.get("t", ""),
        TaskState(entry["s"]) if "s" in entry else None,
        entry.get("f"),
        TaskError(*entry["e"]) if "e" in entry else None,
        StopReason(entry["r"]) if "r" in entry else None,
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
