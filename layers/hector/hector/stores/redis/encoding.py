"""Messages, events and outcomes ⇄ the texts that Redis holds."""

from __future__ import annotations

from hector.model import Event, Message, Principal, StopReason, TaskError, TaskState, Usage
from hector.stores import encoding
from hector.stores.base import Outcome
from hector.stores.encoding import dumped, loaded


def encoded_principal(principal: Principal) -> str:
    return dumped(encoding.encoded_principal(principal))


def decoded_principal(text: str) -> Principal:
    return encoding.decoded_principal(loaded(text))


def encoded_message(message: Message) -> str:
    return dumped(encoding.encoded_message(message))


def decoded_message(text: str) -> Message:
    return encoding.decoded_message(loaded(text))


def encoded_event(event: Event) -> str:
    """All but its number, as JSON."""
    return dumped(encoding.encoded_event(event))


def decoded_event(number: int, text: str) -> Event:
    return encoding.decoded_event(number, loaded(text))


def encoded_outcome(outcome: Outcome) -> dict[str, str]:
    """What a turn's end adds to its task, by name; `decoded_outcome` reads it back."""
    values = {"state": outcome.state.value, "last_event": str(outcome.last_event)}
    if outcome.output is not None:
        values["output"] = encoded_message(outcome.output)
    if outcome.usage is not None:
        values["usage"] = dumped([outcome.usage.input_tokens, outcome.usage.output_tokens])
    if outcome.error is not None:
        values["error"] = dumped([outcome.error.code, outcome.error.message])
    if outcome.stop_reason is not None:
        values["stop_reason"] = outcome.stop_reason.value
    return values


def decoded_outcome(values: dict[str, str]) -> Outcome:
    return Outcome(
        TaskState(values["state"]),
        int(values.get("last_event", 0)),
        decoded_message(values["output"]) if "output" in values else None,
        Usage(*loaded(values["usage"])) if "usage" in values else None,
        TaskError(*loaded(values["error"])) if "error" in values else None,
        StopReason(values["stop_reason"]) if "stop_reason" in values else None,
    )
