"""Durations as people write them: `120s`, `24h`, `1h30m`, `500ms`, or a number of seconds."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_LONGEST = 100 * 365 * _UNITS["d"]
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_PIECE = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def parse_duration(value: Any) -> int:
    """Milliseconds. Raises ValueError."""
    if isinstance(value, str) and _DURATION.fullmatch(value.strip()):
        millis = sum(float(number) * _UNITS[unit] for number, unit in _PIECE.findall(value))
    elif isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        millis = value * 1000
    else:
        millis = math.nan
    if millis <= _LONGEST:
        return round(millis)
    if millis > _LONGEST:
        raise ValueError("a duration of more than 100 years is too long")
    raise ValueError(f"{value!r} is not a duration: write a number of seconds, or a text such as 120s, 24h or 1h30m")


def _validate(value: Any) -> int:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise PydanticCustomError("duration", "{reason}", {"reason": str(error)}) from None


_SCHEMA = {
    "x-duration": True,
    "description": "A number of seconds, or a text such as 500ms, 120s, 24h or 1h30m",
    "anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": f"^{_DURATION.pattern}$"}],
    "examples": ["120s", "1h30m"],
}
"""Of what stands in the file; `x-duration` tells `hector.config.schema` that defaults are in milliseconds."""

Duration = Annotated[int, BeforeValidator(_validate), WithJsonSchema(_SCHEMA)]
PositiveDuration = Annotated[Duration, Field(gt=0)]
