"""What requests hold: bodies are read as JSON whatever their content type, checked, and turned into the model.

`curl -d` sends a form's content type, which FastAPI by itself refuses; so bodies are parsed here.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect, Request

from hector.config.duration import PositiveDuration
from hector.errors import InputTooLarge, InvalidRequest
from hector.model import Message
from hector.stores.base import Idempotency
from hector.web.parts import fingerprint, input_part, message_of, part_of

MAX_DEPTH = 64
MAX_BODY_BYTES = 256 * 1024
MAX_METADATA_BYTES = 16_384
MAX_KEY_LENGTH = 255

B = TypeVar("B", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Tolerant(BaseModel):
    """Unknown fields are ignored, as A2A has it."""

    model_config = ConfigDict(extra="ignore", strict=True)


class CreateSession(_Strict):
    """`ttl`: seconds, or a duration such as "30m"."""

    agentId: str
    ttl: PositiveDuration | None = Field(default=None, examples=["30m"])
    metadata: dict[str, Any] = Field(default_factory=dict)


class TaskInput(_Strict):
    """`content` is the text of a `text/…` type, or the bytes of any other type as base64."""

    type: str = Field(default="text/plain", examples=["text/plain", "image/png"])
    content: Annotated[str, Field(min_length=1)]


class PostTask(_Strict):
    input: TaskInput

    def message(self) -> Message:
        return message_of([(input_part(self.input.type, self.input.content), "input.content")])


class InputPart(_Tolerant):
    """Exactly one of `text`, `raw` (a file as base64) and `url` (of a file: https, http or s3).

    Files need their `mediaType`.
    """

    type: Literal["text", "file"] | None = None
    text: Annotated[str, Field(min_length=1)] | None = None
    raw: Annotated[str, Field(min_length=1)] | None = None
    url: Annotated[str, Field(min_length=1)] | None = None
    mediaType: str | None = Field(default=None, examples=["image/png"])
    filename: str | None = None


class InputMessage(_Tolerant):
    role: Literal["user", "ROLE_USER"] = "user"
    parts: Annotated[list[InputPart], Field(min_length=1, max_length=100)]
    contextId: Annotated[str, Field(min_length=1)] | None = None


class SendMessage(_Tolerant):
    """`contextId`, here or in the message, continues a session."""

    message: InputMessage
    contextId: Annotated[str, Field(min_length=1)] | None = None

    def to_message(self) -> Message:
        fields = [f"message.parts.{index}" for index in range(len(self.message.parts))]
        return message_of(
            [(part_of(part.model_dump(), field), field) for part, field in zip(self.message.parts, fields, strict=True)]
        )

    @property
    def session_id(self) -> str | None:
        if self.contextId and self.message.contextId and self.contextId != self.message.contextId:
            raise InvalidRequest("contextId and message.contextId name two sessions; send one.", field="contextId")
        return self.contextId or self.message.contextId


async def read_body(request: Request, model: type[B]) -> B:
    """The request's body as the model. Raises InvalidRequest or InputTooLarge, naming the field."""
    data = _parse(await _read(request))
    if not isinstance(data, dict):
        raise InvalidRequest(f"The body must be a JSON object, not {_json_type(data)}.")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise _invalid(error) from None


async def _read(request: Request) -> bytes:
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > MAX_BODY_BYTES:
                raise InputTooLarge(f"The body is larger than {MAX_BODY_BYTES:,} bytes.")
            chunks.append(chunk)
    except ClientDisconnect:
        raise InvalidRequest("The connection was closed before the body was complete.") from None
    return b"".join(chunks)


def _parse(raw: bytes) -> Any:
    if not raw.strip():
        raise InvalidRequest("The body is empty: send a JSON object.")
    try:
        data = json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
        _check_depth(data)
        json.dumps(data, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The body is not UTF-8: {error.reason} at byte {error.start}.") from None
    except UnicodeEncodeError:
        raise InvalidRequest("The body holds half of a surrogate pair, which is no text.") from None
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply.") from None
    except ValueError as error:
        raise InvalidRequest(f"The body is not JSON: {error}.") from None
    return data


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
    field = ".".join(str(part) for part in problem["loc"])
    said = {
        "missing": "is missing",
        "extra_forbidden": "is not known here",
    }.get(problem["type"], f"is wrong: {problem['msg'][0].lower()}{problem['msg'][1:]}")
    return InvalidRequest(f"{field} {said}.", field=field)


def _json_type(data: Any) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(data), "a number")


def checked_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(metadata).encode()) > MAX_METADATA_BYTES:
        raise InputTooLarge(f"metadata is larger than {MAX_METADATA_BYTES:,} bytes.", field="metadata")
    return metadata


def idempotency(request: Request, message: Message) -> Idempotency | None:
    """The request's Idempotency-Key, with the fingerprint of what it asks for."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 0 < len(key) <= MAX_KEY_LENGTH:
        raise InvalidRequest(f"The key must have 1 to {MAX_KEY_LENGTH} characters.", field="Idempotency-Key")
    content = json.dumps([fingerprint(part) for part in message.parts])
    return Idempotency(key, hashlib.sha256(content.encode()).hexdigest())


def no_idempotency(request: Request, instead: str) -> None:
    """Refuse a key where it could not be kept: better than a retry that silently does the work twice."""
    if "idempotency-key" in request.headers:
        raise InvalidRequest(f"Idempotency-Key is not supported here; {instead}", field="Idempotency-Key")


def page_limit(request: Request) -> int:
    text = request.query_params.get("limit", "50")
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= 100):
        raise InvalidRequest(f"limit must be a number from 1 to 100, not {text!r}.", field="limit")
    return int(text)


def cursor_after(request: Request) -> int:
    """Where to go on: Last-Event-ID, else ?after=, else 0."""
    name = "Last-Event-ID"
    text = request.headers.get(name)
    if text is None:
        name, text = "after", request.query_params.get("after", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidRequest(f"{name} must be the number of an event, not {text!r}.", field=name)
    return int(text)
