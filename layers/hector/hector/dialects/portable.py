"""The portable session file: newline-delimited JSON, one line for the session, one for each turn, and an end.

    {"type": "session", "format": "hector-session", "version": 1, "agentId": …, "ttl": …, "metadata": {…}, …}
    {"type": "turn", "state": "completed", "input": {"role": "user", "parts": […]}, "output": {…}, …}
    {"type": "end", "turns": 1}

The end says how many turns there are, so that a file that was cut off is not taken for a whole one.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from hector.config.duration import PositiveDuration
from hector.dialects.checked import checked, checked_message, checked_metadata
from hector.dialects.native import millis, parts_json, timestamp
from hector.errors import InvalidRequest
from hector.model import Message, Part, Role, Session, Task, TaskError, TaskState, Usage

FORMAT = "hector-session"
VERSION = 1


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
    type: Literal["text"]
    text: str
    mediaType: str = "text/plain"


class _Message(_Line):
    role: Literal["user", "assistant"]
    parts: Annotated[list[_Part], Field(min_length=1, max_length=100)]

    def message(self, field: str) -> Message:
        role = Role.USER if self.role == "user" else Role.AGENT
        if role is not (Role.USER if field == "input" else Role.AGENT):
            raise InvalidRequest(f"{field}.role is wrong: {self.role!r}.", field=f"{field}.role")
        parts = tuple(Part(part.text, part.mediaType) for part in self.parts)
        return checked_message(Message(role, parts), field, nul=role is Role.AGENT)


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


def session_line(session: Session) -> bytes:
    return _line(
        {
            "type": "session",
            "format": FORMAT,
            "version": VERSION,
            "sessionId": session.id,
            "agentId": session.agent_id,
            "createdAt": timestamp(session.created_at),
            "ttl": session.ttl / 1000,
            "metadata": session.metadata,
        }
    )


def turn_line(task: Task) -> bytes:
    usage, error = task.usage, task.error
    return _line(
        {
            "type": "turn",
            "taskId": task.id,
            "state": task.state,
            "input": {"role": "user", "parts": parts_json(task.input)},
            "output": {"role": "assistant", "parts": parts_json(task.output)} if task.output else None,
            "usage": {"inputTokens": usage.input_tokens, "outputTokens": usage.output_tokens} if usage else None,
            "error": {"code": error.code, "message": error.message} if error else None,
            "createdAt": timestamp(task.created_at),
            "endedAt": timestamp(task.updated_at),
        }
    )


def end_line(turns: int) -> bytes:
    return _line({"type": "end", "turns": turns})


def _line(data: dict[str, Any]) -> bytes:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
