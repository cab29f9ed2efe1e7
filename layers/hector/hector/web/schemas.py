"""What answers look like, for the OpenAPI document: a schema of each, and an example."""

from __future__ import annotations

from typing import Any

from hector.model import StopReason, TaskState
from hector.web.known_problems import SESSION_ID, TASK_ID

_AT = "2026-01-31T12:00:00.000Z"

_TEXT: dict[str, Any] = {"type": "string"}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
_TIME: dict[str, Any] = {"type": "string", "format": "date-time"}
_JSON_OBJECT: dict[str, Any] = {"type": "object"}


def _object(
    about: str, example: Any = None, /, optional: dict[str, Any] | None = None, **required: Any
) -> dict[str, Any]:
    """An object with just these properties."""
    schema: dict[str, Any] = {
        "type": "object",
        "description": about,
        "required": list(required),
        "properties": required | (optional or {}),
        "additionalProperties": False,
    }
    return schema if example is None else schema | {"example": example}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _page(item: str, example: Any) -> dict[str, Any]:
    return _object(
        "A page: `nextCursor` leads to the next one, and is null on the last",
        {"items": [example], "nextCursor": None},
        items={"type": "array", "items": _ref(item)},
        nextCursor=_or_null(_TEXT),
    )


_ERROR = _object("Why a task failed: for programs, and for people", code=_TEXT, message=_TEXT)
_USAGE = _object("Tokens, as the model counted them", inputTokens=_COUNT, outputTokens=_COUNT)
_STATUS = _object(
    "Where the task is", state={"enum": list(TaskState), "type": "string"}, timestamp=_TIME, optional={"error": _ERROR}
)
_PART = _object(
    "A piece of a message: a text, the bytes of a file as base64 (`raw`), or the `url` of one",
    optional={
        "text": _TEXT,
        "raw": {"type": "string", "contentEncoding": "base64"},
        "url": {"type": "string", "format": "uri"},
        "mediaType": _TEXT,
        "filename": _TEXT,
    },
    type={"enum": ["text", "file"], "type": "string"},
)
_CONTENT = _object(
    "A text and its media type, or a file as base64; `parts` if there are files among them",
    optional={"parts": {"type": "array", "items": _PART}},
    type=_TEXT,
    content=_TEXT,
)

SCHEMAS: dict[str, Any] = {
    "Session": _object(
        "A conversation with one agent. `ttl` is in seconds",
        {
            "sessionId": SESSION_ID,
            "agentId": "support_agent",
            "status": "active",
            "createdAt": _AT,
            "lastActivityAt": _AT,
            "expiresAt": "2026-02-01T12:00:00.000Z",
            "ttl": 86400,
            "turns": 2,
            "metadata": {"plan": "gold"},
        },
        optional={
            "openTaskId": {"type": "string", "description": "The task that is running"},
            "waitingTaskIds": {
                "type": "array",
                "items": _TEXT,
                "description": "The tasks that wait for their turn, the next one first",
            },
        },
        sessionId=_TEXT,
        agentId=_TEXT,
        status={"enum": ["active", "busy"], "type": "string"},
        createdAt=_TIME,
        lastActivityAt=_TIME,
        expiresAt=_TIME,
        ttl={"type": "number", "exclusiveMinimum": 0},
        turns=_COUNT,
        metadata=_JSON_OBJECT,
    ),
    "Task": _object(
        "One turn: what was asked, and what came of it. `lastEventId` is the number of the event that ended it",
        {
            "taskId": TASK_ID,
            "sessionId": SESSION_ID,
            "agentId": "support_agent",
            "status": {"state": "completed", "timestamp": _AT},
            "input": {"type": "text/plain", "content": "What is my name?"},
            "output": {"type": "text/plain", "content": "Your name is Alice."},
            "usage": {"inputTokens": 12, "outputTokens": 4},
            "createdAt": _AT,
            "lastEventId": 5,
        },
        optional={
            "stopReason": {
                "enum": list(StopReason),
                "type": "string",
                "description": "Why the answer is not whole; absent where it is",
            }
        },
        taskId=_TEXT,
        sessionId=_TEXT,
        agentId=_TEXT,
        status=_STATUS,
        input=_CONTENT,
        output=_or_null(_CONTENT),
        usage=_or_null(_USAGE),
        createdAt=_TIME,
        lastEventId=_or_null(_COUNT),
    ),
    "Message": _object(
        "What was said, by whom, in which turn",
        {
            "messageId": f"{TASK_ID}.user",
            "role": "user",
            "parts": [{"type": "text", "text": "What is my name?"}],
            "taskId": TASK_ID,
            "createdAt": _AT,
        },
        messageId=_TEXT,
        role={"enum": ["user", "assistant"], "type": "string"},
        parts={"type": "array", "items": _PART},
        taskId=_TEXT,
        createdAt=_TIME,
    ),
    "Agent": _object(
        "What answers. Without `streaming`, the answer comes in one piece on every route",
        {
            "agentId": "support_agent",
            "name": "Support",
            "description": "Answers questions about orders",
            "capabilities": {"streaming": True},
        },
        agentId=_TEXT,
        name=_TEXT,
        description=_TEXT,
        capabilities=_object("What it can do", streaming={"type": "boolean"}),
    ),
    "Health": _object(
        "The server is up",
        {"status": "ok", "version": "0.1.0", "sessionStore": "memory"},
        status={"const": "ok"},
        version=_TEXT,
        sessionStore=_TEXT,
    ),
    "EventStream": _object(
        "An event of Server-Sent Events. `id` is its number, from 1 and without gaps; send the last one as "
        "Last-Event-ID to go on after it. `message` carries the next piece of the answer, `status` a note about "
        "progress or, with a final state, the end; `reset` says that a crash took back what came after its "
        "`last_event_id`. Comments keep a silent connection open.",
        {
            "id": "1",
            "event": "message",
            "data": f'{{"task_id":"{TASK_ID}","context_id":"{SESSION_ID}",'
            '"message":{"role":"assistant","parts":[{"type":"text","text":"Hello"}]}}',
        },
        id={"type": "string", "pattern": "^[0-9]+$"},
        event={"enum": ["message", "status", "reset"], "type": "string"},
        data={"type": "string", "contentMediaType": "application/json"},
    ),
    "SessionFile": {
        "type": "string",
        "description": (
            "Newline-delimited JSON: a line for the session, one for each turn that has ended, oldest first, and an "
            "end that says how many there are."
        ),
        "example": (
            '{"type":"session","format":"hector-session","version":1,"agentId":"support_agent","ttl":86400,'
            '"metadata":{}}\n'
            '{"type":"turn","state":"completed","input":{"role":"user","parts":[{"type":"text","text":"Hi"}]},'
            '"output":{"role":"assistant","parts":[{"type":"text","text":"Hello"}]},'
            f'"createdAt":"{_AT}","endedAt":"{_AT}"}}\n'
            '{"type":"end","turns":1}\n'
        ),
    },
    "Problem": {
        "type": "object",
        "description": "Problem details (RFC 9457)",
        "required": ["type", "title", "status", "code", "detail"],
        "additionalProperties": False,
        "properties": {
            "type": _TEXT,
            "title": _TEXT,
            "status": {"type": "integer"},
            "code": {"type": "string", "description": "Stable, for programs"},
            "detail": {"type": "string", "description": "For people: what is wrong, and what to do"},
            "field": {"type": "string", "description": "The field that is wrong"},
            "taskId": {"type": "string", "description": "The task that keeps the session busy"},
        },
    },
}
SCHEMAS |= {f"{item}Page": _page(item, SCHEMAS[item]["example"]) for item in ("Session", "Task", "Message", "Agent")}
