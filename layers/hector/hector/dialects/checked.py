"""JSON from outside: parsed, checked against a model, and refused with the name of the field that is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError

from hector.errors import InputTooLarge, InvalidRequest

MAX_DEPTH = 64
MAX_METADATA_BYTES = 16_384

B = TypeVar("B", bound=BaseModel)


def parse_object(raw: bytes, what: str) -> dict[str, Any]:
    """The JSON object that these bytes are; `what` names them in errors. Raises InvalidRequest.

    A byte order mark at the beginning is left out (RFC 8259, section 8.1): some editors write one.
    """
    try:
        data = json.loads(raw.decode("utf-8-sig"), parse_constant=_no_constant)
        _check_depth(data)
        json.dumps(data, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{what} is not UTF-8: {error.reason} at byte {error.start}.") from None
    except UnicodeEncodeError:
        raise InvalidRequest(f"{what} holds half of a surrogate pair, which is no text.") from None
    except RecursionError:
        raise InvalidRequest(f"{what} is nested too deeply.") from None
    except ValueError as error:
        raise InvalidRequest(f"{what} is not JSON: {error}.") from None
    if not isinstance(data, dict):
        raise InvalidRequest(f"{what} must be a JSON object, not {_json_type(data)}.")
    return data


def checked(model: type[B], data: dict[str, Any]) -> B:
    """Raises InvalidRequest, naming the field."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise _invalid(error) from None


def checked_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """Raises InvalidRequest, InputTooLarge."""
    if len(json.dumps(metadata).encode()) > MAX_METADATA_BYTES:
        raise InputTooLarge(f"metadata is larger than {MAX_METADATA_BYTES:,} bytes.", field="metadata")
    if _holds_nul(metadata):
        raise InvalidRequest("metadata holds a NUL character.", field="metadata")
    return metadata


def without_near_misses(data: Any, known: Iterable[str], meant: Mapping[str, str]) -> Any:
    """The data, for a model that ignores what it does not know. Raises PydanticCustomError for a near miss.

    That is a known field spelled otherwise (`turn_policy`), or one of `meant`, whose keys are in small letters alone.
    """
    spelled = {_letters(name): name for name in reversed([*known])} | dict(meant)  # the first of two spellings
    for key in data if isinstance(data, dict) else ():
        if key not in known and (right := spelled.get(_letters(key))):
            raise PydanticCustomError("near_miss", "write {right}", {"key": key, "right": right})
    return data


def _letters(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def _check_depth(data: Any) -> None:
    """Raises RecursionError well before whoever writes the data again would."""
    level = [data]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise RecursionError


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _invalid(error: ValidationError) -> InvalidRequest:
    problem = error.errors()[0]
    near_miss = (problem["ctx"]["key"],) if problem["type"] == "near_miss" else ()
    field = ".".join(str(part) for part in (*problem["loc"], *near_miss))
    said = {
        "near_miss": f"is not known here: {problem['msg']}",
        "missing": "is missing",
        "extra_forbidden": "is not known here",
        "model_type": "must be an object",
        "dict_type": "must be an object",
        "list_type": "must be an array",
    }.get(problem["type"], f"is wrong: {problem['msg'][0].lower()}{problem['msg'][1:]}")
    return InvalidRequest(f"{field} {said}.", field=field)


def _json_type(data: Any) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(data), "a number")


def _holds_nul(value: Any) -> bool:
    match value:
        case str():
            return "\0" in value
        case dict():
            return any(_holds_nul(key) or _holds_nul(item) for key, item in value.items())
        case list():
            return any(_holds_nul(item) for item in value)
        case _:
            return False
