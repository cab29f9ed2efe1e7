"""What an agent yields, checked where it is taken: nothing else reaches a log, a store or a client."""

from __future__ import annotations

import math
from operator import index
from typing import Any, SupportsFloat, SupportsIndex

from hector.agents.base import Output, Progress, Text, Truncated
from hector.errors import AgentError
from hector.model import StopReason, Usage

_COUNTS_END = 2**53
"""From here on JSON's readers differ."""


def checked(output: object) -> Output:
    """The output with the types that it declares. Raises AgentError, naming the field and what it is instead.

    Whatever is a whole number becomes an int, whatever is a number a fraction from 0 to 1; one that is no finite number
    is not known.
    """
    match output:
        case Text(str()):
            return output
        case Text(text):
            raise _wrong("Text.text", text, "a str")
        case Progress(str(note), fraction):
            return Progress(note, None if fraction is None else _fraction(fraction))
        case Progress(note):
            raise _wrong("Progress.note", note, "a str")
        case Usage(input_tokens, output_tokens):
            return Usage(_count("Usage.input_tokens", input_tokens), _count("Usage.output_tokens", output_tokens))
        case Truncated(reason):
            return Truncated(_reason(reason))
    raise AgentError(
        "agent_error",
        f"The agent gave {_kind(output)}: answer(turn) must give str, Text, Progress, Usage or Truncated.",
    )


def usage_of(input_tokens: Any, output_tokens: Any) -> Usage | None:
    """What a model's server reported, if these are counts at all: an answer need not fail for a report."""
    try:
        return Usage(_count("", input_tokens), _count("", output_tokens))
    except AgentError:
        return None


def _count(field: str, value: Any) -> int:
    if not isinstance(value, SupportsIndex) or isinstance(value, bool):
        raise _wrong(field, value, "a whole number, 0 or more")
    count = index(value)
    if not 0 <= count < _COUNTS_END:
        raise AgentError("agent_error", f"The agent gave {field} out of range: it must be 0 or more, and below 2**53.")
    return count


def _fraction(value: Any) -> float | None:
    if not isinstance(value, SupportsFloat):
        raise _wrong("Progress.fraction", value, "a number from 0 to 1, or None")
    try:
        fraction = float(value)
    except (ArithmeticError, TypeError, ValueError):  # beyond any float, or an array
        raise _wrong("Progress.fraction", value, "a number from 0 to 1, or None") from None
    return min(max(fraction, 0.0), 1.0) if math.isfinite(fraction) else None


def _reason(value: Any) -> StopReason:
    try:
        return StopReason(value)
    except ValueError:
        raise _wrong("Truncated.reason", value, f"a StopReason: {' or '.join(StopReason)}") from None


def _wrong(field: str, value: object, wanted: str) -> AgentError:
    return AgentError("agent_error", f"The agent gave {_kind(value)} as {field}: it must be {wanted}.")


def _kind(value: object) -> str:
    return "None" if value is None else f"{type(value).__name__!r}"
