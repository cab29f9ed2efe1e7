"""What requests hold: bodies are read as JSON whatever their content type, checked, and turned into the model.

`curl -d` sends a form's content type, which FastAPI by itself refuses; so bodies are parsed here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any, ClassVar, Literal, Protocol, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator
from starlette.requests import ClientDisconnect, Request

from hector.config.duration import PositiveDuration
from hector.dialects.checked import checked, checked_metadata, parse_object, without_near_misses
from hector.dialects.parts import fingerprint, input_part, message_of, part_of
from hector.errors import EncodedBody, InputTooLarge, InvalidRequest
from hector.model import Message, TaskState, TurnPolicy
from hector.stores.base import Idempotency
from hector.turns import Asked
from hector.web.context import seconds_left

MAX_BODY_BYTES = 4 * 1024 * 1024
"""Of a message as large as may be, the characters beyond ASCII escaped; Lambda takes 6 MB."""

MAX_LINE_BYTES = 16 * 1024 * 1024
"""Of a portable session file: a turn's two messages, each character of them escaped."""

MAX_EMPTY_LINES = 1000
"""Of a portable session file: more of them are no file, but a way to keep a server busy."""

MAX_KEY_LENGTH = 255

B = TypeVar("B", bound=BaseModel)


class Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...


# A function takes few of these: each is built when the first of its kind comes.
class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)


_SESSION = {"session": "contextId", "sessionid": "contextId"}


class _Tolerant(BaseModel):
    """Unknown fields are ignored, as A2A has it; but not what is one of ours spelled otherwise, and `meant`."""

    model_config = ConfigDict(extra="ignore", strict=True, defer_build=True)
    meant: ClassVar[dict[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _near_misses(cls, data: Any) -> Any:
        return without_near_misses(data, cls.model_fields, cls.meant)


Metadata = Annotated[dict[str, Any], AfterValidator(checked_metadata)]
Ttl = Annotated[
    PositiveDuration,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0.001},
                {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"},
            ]
        }
    ),
]
"""Seconds, or a duration such as "30m"."""


class CreateSession(_Strict):
    """`ttl`: seconds, or a duration such as "30m"; `metadata` is yours, up to 16 KB."""

    agentId: str = Field(examples=["support_agent"])
    ttl: Ttl | None = Field(default=None, examples=["30m"])
    metadata: Metadata = Field(default_factory=dict, examples=[{"plan": "gold"}])


class UpdateSession(_Strict):
    """What is left out stays. `ttl` counts from now on; `metadata` is replaced as a whole."""

    ttl: Ttl | None = Field(default=None, examples=["2h"])
    metadata: Metadata | None = Field(default=None, examples=[{"plan": "platinum"}])


class ForkSession(_Strict):
    """`ttl` and `metadata`: as in the session that is forked, if left out; `taskId`: the last turn to take over."""

    ttl: Ttl | None = Field(default=None, examples=["2h"])
    metadata: Metadata | None = Field(default=None, examples=[{"branch": "b"}])
    taskId: str | None = None


class TaskInput(_Strict):
    """`content` is the text of a `text/…` type, or the bytes of any other type as base64."""

    type: str = Field(default="text/plain", examples=["text/plain", "image/png"])
    content: Annotated[str, Field(min_length=1)]


class PostTask(_Strict):
    """`turnPolicy`: what happens if the session is busy, in place of the agent's own setting."""

    input: TaskInput
    turnPolicy: TurnPolicy | None = Field(default=None, examples=["enqueue"], strict=False)

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


Context = Annotated[str, Field(min_length=1)] | None


class InputMessage(_Tolerant):
    meant = {**_SESSION, "turnpolicy": "turnPolicy beside message"}

    role: Literal["user", "ROLE_USER"] = "user"
    parts: Annotated[list[InputPart], Field(min_length=1, max_length=100)]
    contextId: Context = None
    context_id: Context = Field(default=None, description="The same as contextId")


class SendMessage(_Tolerant):
    """`contextId`, here or in the message, continues a session; `turnPolicy`: what happens if it is busy.

    `context_id`, as the events of a stream have it, is the same as `contextId`. No other spelling is: it is refused.
    """

    meant = _SESSION

    message: InputMessage
    turnPolicy: TurnPolicy | None = Field(default=None, examples=["enqueue"], strict=False)
    contextId: Context = None
    context_id: Context = Field(default=None, description="The same as contextId")

    def to_message(self) -> Message:
        fields = [f"message.parts.{index}" for index in range(len(self.message.parts))]
        return message_of(
            [(part_of(part.model_dump(), field), field) for part, field in zip(self.message.parts, fields, strict=True)]
        )

    @property
    def session_id(self) -> str | None:
        inner = self.message
        named = {
            "contextId": self.contextId, "context_id": self.context_id,
            "message.contextId": inner.contextId, "message.context_id": inner.context_id,
        }  # fmt: skip
        named = {field: session_id for field, session_id in named.items() if session_id is not None}
        if len(set(named.values())) > 1:
            fields = [*named]
            raise InvalidRequest(f"{' and '.join(fields)} name two sessions; send one.", field=fields[0])
        return next(iter(named.values()), None)


async def read_body(request: Request, model: type[B], *, optional: bool = False) -> B:
    """The request's body as the model; where it is optional, none is an empty object.

    Raises InvalidRequest, EncodedBody or InputTooLarge, naming the field.
    """
    refuse_encoded(request)
    raw = await _read(request)
    if not raw.strip():
        if not optional:
            raise InvalidRequest("The body is empty: send a JSON object.")
        raw = b"{}"
    return checked(model, parse_object(raw, "The body"))


def refuse_encoded(request: Request) -> None:
    """Raises EncodedBody."""
    encoding = ", ".join(request.headers.getlist("content-encoding")).strip()
    if encoding.lower() not in ("", "identity"):
        raise EncodedBody.with_(encoding)


async def numbered_lines(request: Request, digest: Digest) -> AsyncIterator[tuple[int, bytes]]:
    """The body's lines that are not empty, with their numbers from 1; the digest gets all of it.

    Nothing but one line is held in memory. Raises InputTooLarge for a line, and InvalidRequest for too many empty ones.
    """
    number, empty, line = 1, 0, bytearray()
    async for chunk in _chunks(request):
        digest.update(chunk)
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            _extend(line, end, number)
            if line.strip():
                yield number, bytes(line)
            elif (empty := empty + 1) > MAX_EMPTY_LINES:
                raise InvalidRequest(f"There are more than {MAX_EMPTY_LINES:,} empty lines.", field=f"line {number}")
            number += 1
            line.clear()
        _extend(line, rest, number)
    if line.strip():
        yield number, bytes(line)


def _extend(line: bytearray, more: bytes, number: int) -> None:
    if len(line) + len(more) > MAX_LINE_BYTES:
        raise InputTooLarge(f"Line {number} is longer than {MAX_LINE_BYTES:,} bytes.", field=f"line {number}")
    line += more


async def _read(request: Request) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in _chunks(request):
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise InputTooLarge(f"The body is larger than {MAX_BODY_BYTES:,} bytes.")
        chunks.append(chunk)
    return b"".join(chunks)


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    """The body as it comes. Raises InvalidRequest if the client leaves in the middle of it."""
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect:
        raise InvalidRequest("The connection was closed before the body was complete.") from None


def idempotency(request: Request, asked: Any) -> Idempotency | None:
    """The request's Idempotency-Key, with the fingerprint of what is asked for: something that JSON can say."""
    content = json.dumps(asked, sort_keys=True)
    return idempotency_of(request, hashlib.sha256(content.encode()).hexdigest())


def idempotency_of(request: Request, fingerprint: str) -> Idempotency | None:
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 0 < len(key) <= MAX_KEY_LENGTH:
        raise InvalidRequest(f"The key must have 1 to {MAX_KEY_LENGTH} characters.", field="Idempotency-Key")
    return Idempotency(key, fingerprint)


def asked(request: Request, message: Message, policy: TurnPolicy | None, *, background: bool = False) -> Asked:
    """How the message is asked for; an idempotency key stands for its parts, and for the policy if one is named."""
    fingerprints: list[Any] = [fingerprint(part) for part in message.parts]
    return Asked(
        idempotency(request, [*fingerprints, policy] if policy else fingerprints),
        policy,
        background=background,
        seconds_left=seconds_left(request),
    )


def responds_async(request: Request) -> bool:
    """Whether the client prefers not to wait: `Prefer: respond-async` (RFC 7240, section 4.1)."""
    unquoted = re.sub(r'"(\\.|[^"\\])*"', "", ",".join(request.headers.getlist("prefer")))
    names = (re.split("[;=]", preference)[0].strip().lower() for preference in unquoted.split(","))
    return "respond-async" in names


def page_limit(request: Request) -> int:
    text = request.query_params.get("limit", "50")
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= 100):
        raise InvalidRequest(f"limit must be a number from 1 to 100, not {text!r}.", field="limit")
    return int(text)


def newest_first(request: Request) -> bool:
    """Whether the newest come first: ?order=asc or desc."""
    text = request.query_params.get("order", "asc")
    if text not in ("asc", "desc"):
        raise InvalidRequest(f"order must be asc or desc, not {text!r}.", field="order")
    return text == "desc"


def task_state(request: Request) -> TaskState | None:
    text = request.query_params.get("state")
    if text is None:
        return None
    try:
        return TaskState(text)
    except ValueError:
        raise InvalidRequest(f"state must be one of {', '.join(TaskState)}, not {text!r}.", field="state") from None


def cursor_after(request: Request) -> int:
    """Where to go on: Last-Event-ID, else ?after=, else 0."""
    after = _event_number("after", request.query_params.get("after", "0"))
    last = request.headers.get("last-event-id")
    return after if last is None else _event_number("Last-Event-ID", last)


def _event_number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidRequest(f"{name} must be the number of an event, not {text!r}.", field=name)
    return int(text)
