"""The product's own JSON: from wire to model and back. Pure functions.

REST bodies are camelCase; the data of stream events is written as the page that the product follows has it, with
`task_id` and the role `assistant`.
"""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

from hector.agents.base import ServedAgent
from hector.model import Event, EventKind, Message, Millis, Part, Role, Session, Task, TaskError, session_id_of
from hector.transcript import Said

_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def timestamp(at: Millis) -> str:
    """RFC 3339 in UTC with milliseconds, such as 2026-01-31T12:00:00.000Z."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def millis(text: str) -> Millis:
    """What `timestamp` wrote. Raises ValueError."""
    at = datetime.fromisoformat(text)
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def session_json(session: Session) -> dict[str, Any]:
    """`ttl` is in seconds, as in the request."""
    return {
        "sessionId": session.id,
        "agentId": session.agent_id,
        "status": "busy" if session.open_task_id or session.waiting else "active",
        **({"openTaskId": session.open_task_id} if session.open_task_id else {}),
        **({"waitingTaskIds": list(session.waiting)} if session.waiting else {}),
        "createdAt": timestamp(session.created_at),
        "lastActivityAt": timestamp(session.last_activity_at),
        "expiresAt": timestamp(session.expires_at),
        "ttl": session.ttl / 1000 if session.ttl % 1000 else session.ttl // 1000,
        "turns": session.turns,
        "metadata": session.metadata,
    }


def task_json(task: Task, note: Event | None = None) -> dict[str, Any]:
    """`note` is the newest one about the progress of a task that runs."""
    told = {} if note is None else _note(note)
    return {
        "taskId": task.id,
        "sessionId": task.session_id,
        "agentId": task.agent_id,
        "status": {"state": task.state, "timestamp": timestamp(task.updated_at), **told, **_error(task.error)},
        "input": content_json(task.input),
        "output": None if task.output is None else content_json(task.output),
        "usage": (
            None
            if task.usage is None
            else {"inputTokens": task.usage.input_tokens, "outputTokens": task.usage.output_tokens}
        ),
        **({"stopReason": task.stop_reason} if task.stop_reason else {}),
        "createdAt": timestamp(task.created_at),
        "lastEventId": task.last_event + 1 if task.state.terminal else None,
    }


def message_json(said: Said) -> dict[str, Any]:
    """In the shape of the stream's events: an agent's role is `assistant`."""
    return {
        "messageId": said.id,
        "role": "user" if said.message.role is Role.USER else "assistant",
        "parts": parts_json(said.message),
        "taskId": said.task_id,
        "createdAt": timestamp(said.at),
    }


def parts_json(message: Message) -> list[dict[str, Any]]:
    return [part_json(part) for part in message.parts]


def content_json(message: Message) -> dict[str, Any]:
    """A message as `{type, content}`: its text, or its only file as base64. Other files are in `parts`."""
    first = message.parts[0]
    if len(message.parts) == 1 and first.raw is not None and first.filename is None:
        return {"type": first.media_type, "content": b64encode(first.raw).decode()}
    text_type = next((part.media_type for part in message.parts if part.text is not None), "text/plain")
    parts = {"parts": parts_json(message)} if message.has_files else {}
    return {"type": text_type, "content": message.text, **parts}


def part_json(part: Part) -> dict[str, Any]:
    """A part as requests have it: `{"type": "text", "text"}`, or `{"type": "file", "raw" | "url", "mediaType"}`."""
    name = {} if part.filename is None else {"filename": part.filename}
    if part.text is not None:
        kind = {} if part.media_type == "text/plain" else {"mediaType": part.media_type}
        return {"type": "text", "text": part.text, **kind, **name}
    content = {"url": part.url} if part.raw is None else {"raw": b64encode(part.raw).decode()}
    return {"type": "file", **content, "mediaType": part.media_type, **name}


def agent_json(served: ServedAgent) -> dict[str, Any]:
    return {
        "agentId": served.id,
        "name": served.name,
        "description": served.description,
        "capabilities": {"streaming": served.streams},
    }


def event_data(task_id: str, event: Event) -> dict[str, Any]:
    """The data of an event of the task's log. The first event of a log names the session in `context_id`."""
    data: dict[str, Any] = {"task_id": task_id}
    if event.number <= 1:
        data["context_id"] = session_id_of(task_id)
    if event.kind is EventKind.MESSAGE:
        data["message"] = {"role": "assistant", "parts": [{"type": "text", "text": event.text}]}
    elif event.kind is EventKind.RESET:
        data["last_event_id"] = event.number
    else:
        stop = {} if event.stop_reason is None else {"stop_reason": event.stop_reason}
        data["status"] = {"state": event.state, **_note(event), **stop, **_error(event.error)}
    return data


def event_frame(task_id: str, event: Event) -> str:
    """An event as a frame of Server-Sent Events (WHATWG HTML, section 9.2); always the same characters."""
    if event.kind is EventKind.MESSAGE and event.number > 1:
        # Nearly all of every log, and made anew for each follower: written out, it takes an eighth of the time.
        message = f'{{"role":"assistant","parts":[{{"type":"text","text":{_dumps(event.text)}}}]}}'
        data = f'{{"task_id":{_dumps(task_id)},"message":{message}}}'
    else:
        data = _dumps(event_data(task_id, event))
    return f"id: {event.number}\nevent: {event.kind}\ndata: {data}\n\n"


def _note(event: Event) -> dict[str, Any]:
    fraction = {} if event.fraction is None else {"fraction": event.fraction}
    return {"message": event.text, **fraction} if event.text else fraction


def _error(error: TaskError | None) -> dict[str, Any]:
    return {} if error is None else {"error": {"code": error.code, "message": error.message}}
