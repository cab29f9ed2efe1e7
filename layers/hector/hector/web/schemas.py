"""What answers look like, for the OpenAPI document: a schema of each, and an example.

Every object has a name of its own: generators make a class of each, and name those that have none after where they are.
"""

from __future__ import annotations

import json
from typing import Any

from hector.model import StopReason, TaskState
from hector.web.known_problems import SESSION_ID, TASK_ID

_AT = "2026-01-31T12:00:00.000Z"
_FIRST = (
    f'{{"task_id":"{TASK_ID}","context_id":"{SESSION_ID}",'
    '"message":{"role":"assistant","parts":[{"type":"text","text":"Hello"}]}}'
)
_LAST = f'{{"task_id":"{TASK_ID}","status":{{"state":"completed"}}}}'

_TEXT: dict[str, Any] = {"type": "string"}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
_TIME: dict[str, Any] = {"type": "string", "format": "date-time"}
_FRACTION: dict[str, Any] = {"type": "number", "minimum": 0, "maximum": 1}
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
        "A page: `nextCursor` leads to the next one, and is null on the last. A page may hold fewer items than "
        "`limit`, or none, and have a `nextCursor` all the same",
        {"items": [example], "nextCursor": None},
        items={"type": "array", "items": _ref(item)},
        nextCursor=_or_null(_TEXT),
    )


SCHEMAS: dict[str, Any] = {
    "TaskError": _object("Why a task failed: for programs, and for people", code=_TEXT, message=_TEXT),
    "Usage": _object("Tokens, as the model counted them", inputTokens=_COUNT, outputTokens=_COUNT),
    "TaskStatus": _object(
        "Where the task is; while it runs, with its newest note about progress (`message`, and the `fraction` that is "
        "done) where it is read by itself. Of a log of a thousand events or more, its stream alone tells notes",
        state={"enum": list(TaskState), "type": "string"},
        timestamp=_TIME,
        optional={"message": _TEXT, "fraction": _FRACTION, "error": _ref("TaskError")},
    ),
    "Part": _object(
        "A piece of a message: a text, the bytes of a file as base64 (`raw`), or the `url` of one",
        optional={
            "text": _TEXT,
            "raw": {"type": "string", "contentEncoding": "base64"},
            "url": {"type": "string", "format": "uri"},
            "mediaType": _TEXT,
            "filename": _TEXT,
        },
        type={"enum": ["text", "file"], "type": "string"},
    ),
    "Content": _object(
        "A text and its media type, or a file as base64; `parts` if there are files among them",
        optional={"parts": {"type": "array", "items": _ref("Part")}},
        type=_TEXT,
        content=_TEXT,
    ),
    "Capabilities": _object("What an agent can do", streaming={"type": "boolean"}),
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
        status=_ref("TaskStatus"),
        input=_ref("Content"),
        output=_or_null(_ref("Content")),
        usage=_or_null(_ref("Usage")),
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
        parts={"type": "array", "items": _ref("Part")},
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
        capabilities=_ref("Capabilities"),
    ),
    "Health": _object(
        "The server is up",
        {"status": "ok", "version": "0.1.0", "sessionStore": "memory"},
        status={"const": "ok"},
        version=_TEXT,
        sessionStore=_TEXT,
    ),
    "EventStream": {
        "type": "string",
        "description": "Server-Sent Events: each is a `StreamEvent`, written as the lines `id`, `event` and `data`, "
        "and ends with an empty line. Comments (lines that begin with a colon) keep a silent connection open. The "
        "stream ends after a `status` whose state is final; one that ends without has been cut: go on with "
        "Last-Event-ID.",
        "example": f": ok\n\nid: 1\nevent: message\ndata: {_FIRST}\n\nid: 2\nevent: status\ndata: {_LAST}\n\n",
    },
    "StreamEvent": _object(
        "An event of a stream. `id` is its number, from 1 and without gaps; send the last one as Last-Event-ID to go "
        "on after it. `message` carries the next piece of the answer, `status` a note about progress or, with a final "
        "state, the end; `reset` says that a crash took back what came after its `last_event_id`. `data` is an "
        "`EventData` as JSON, in one line",
        {"id": "1", "event": "message", "data": _FIRST},
        id={"type": "string", "pattern": "^[0-9]+$"},
        event={"enum": ["message", "status", "reset"], "type": "string"},
        data={"type": "string", "contentMediaType": "application/json", "contentSchema": _ref("EventData")},
    ),
    "EventData": _object(
        "What an event says: `message`, `status` or `last_event_id`, as its name has it. The first one of a task names "
        "the session in `context_id`",
        json.loads(_FIRST),
        optional={
            "context_id": _TEXT,
            "message": _ref("EventMessage"),
            "status": _ref("EventStatus"),
            "last_event_id": {"type": "integer", "minimum": 0, "description": "The last event that is still there"},
        },
        task_id=_TEXT,
    ),
    "EventMessage": _object(
        "The next piece of the answer",
        role={"enum": ["assistant"], "type": "string"},
        parts={"type": "array", "items": _ref("Part")},
    ),
    "EventStatus": _object(
        "How far the task is: a note (`message`) and the `fraction` that is done, or how it ended",
        optional={
            "message": _TEXT,
            "fraction": _FRACTION,
            "stop_reason": {"enum": list(StopReason), "type": "string"},
            "error": _ref("TaskError"),
        },
        state={"enum": list(TaskState), "type": "string"},
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
            "field": {
                "type": "string",
                "description": "The field that is wrong; sessionId, taskId or agentId where there is no such thing",
            },
            "taskId": {"type": "string", "description": "The task that keeps the session busy"},
        },
    },
}
SCHEMAS |= {f"{item}Page": _page(item, SCHEMAS[item]["example"]) for item in ("Session", "Task", "Message", "Agent")}
