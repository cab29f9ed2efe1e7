"""Reading the portable session file (see `hector.dialects.portable`): lines, checked, as the model has them.

Apart from the writing, because only an import needs these models, and every function would have to start with them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from hector.config.duration import PositiveDuration
from hector.dialects.checked import checked, checked_metadata
from hector.dialects.native import millis
from hector.dialects.parts import message_of, part_of
from hector.dialects.portable import FORMAT, VERSION
from hector.errors import InvalidRequest
from hector.model import Message, Role, StopReason, Task, TaskError, TaskState, Usage


def _time(value: Any) -> int:
    if not isinstance(value, str):
        raise ValueError("this is a text such as 2026-01-31T12:00:00.000Z")
    return max(0, millis(value))


Time = Annotated[int, BeforeValidator(_time)]
"""RFC 3339; milliseconds once read."""


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class SessionLine(_Line):
    """`ttl` is in seconds. The session's id and times are for people: an imported session has its own."""

    type: Literal["session"]
    format: Literal["hector-session"]
    version: Literal[1]
    agentId: str
    ttl: PositiveDuration
    metadata: Annotated[dict[str, Any], AfterValidator(checked_metadata)] = Field(default_factory=dict)
    sessionId: str | None = None
    createdAt: str | None = None


class _Part(_Line):
    type: Literal["text", "file"]
    text: str | None = None
    raw: str | None = None
    url: str | None = None
    mediaType: str | None = None
    filename: str | None = None


class _Message(_Line):
    role: Literal["user", "assistant"]
    parts: Annotated[list[_Part], Field(min_length=1, max_length=100)]

    def message(self, field: str) -> Message:
        role = Role.USER if self.role == "user" else Role.AGENT
        if role is not (Role.USER if field == "input" else Role.AGENT):
            raise InvalidRequest(f"{field}.role is wrong: {self.role!r}.", field=f"{field}.role")
        fields = [f"{field}.parts.{index}" for index in range(len(self.parts))]
        nul = role is Role.AGENT
        parts = [(part_of(part.model_dump(), at, nul=nul), at) for part, at in zip(self.parts, fields, strict=True)]
        return message_of(parts, role)


class _Usage(_Line):
    inputTokens: Annotated[int, Field(ge=0, lt=2**53)]
    outputTokens: Annotated[int, Field(ge=0, lt=2**53)]


class _Error(_Line):
    code: str
    message: str


class TurnLine(_Line):
    """A turn that has ended. Its id is for people: an imported turn has its own."""

    type: Literal["turn"]
    state: Literal["completed", "failed", "canceled", "rejected"]
    input: _Message
    createdAt: Time
    endedAt: Time
    output: _Message | None = None
    usage: _Usage | None = None
    error: _Error | None = None
    stopReason: Literal["max_tokens", "context_window"] | None = None
    taskId: str | None = None

    def task(self) -> Task:
        """The turn, without the ids of a session."""
        return Task(
            id=self.taskId or "",
            session_id="",
            agent_id="",
            state=TaskState(self.state),
            input=self.input.message("input"),
            created_at=self.createdAt,
            updated_at=self.endedAt,
            output=self.output.message("output") if self.output else None,
            usage=Usage(self.usage.inputTokens, self.usage.outputTokens) if self.usage else None,
            error=TaskError(self.error.code, self.error.message) if self.error else None,
            stop_reason=StopReason(self.stopReason) if self.stopReason else None,
        )


class EndLine(_Line):
    type: Literal["end"]
    turns: Annotated[int, Field(ge=0)]


def read_session_line(data: dict[str, Any]) -> SessionLine:
    """Raises InvalidRequest."""
    if data.get("type") != "session" or data.get("format") != FORMAT:
        raise InvalidRequest(f'A file begins with {{"type": "session", "format": "{FORMAT}", …}}.', field="format")
    if data.get("version") != VERSION:
        raise InvalidRequest(f"Version {data.get('version')!r} is not known here; {VERSION} is.", field="version")
    return checked(SessionLine, data)


def read_line(data: dict[str, Any]) -> TurnLine | EndLine:
    """Raises InvalidRequest."""
    return checked(EndLine, data) if data.get("type") == "end" else checked(TurnLine, data)
