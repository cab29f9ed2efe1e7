"""The portable session file: newline-delimited JSON, one line for the session, one for each turn, and an end.

    {"type": "session", "format": "hector-session", "version": 1, "agentId": …, "ttl": …, "metadata": {…}, …}
    {"type": "turn", "state": "completed", "input": {"role": "user", "parts": […]}, "output": {…}, …}
    {"type": "end", "turns": 1}

The end says how many turns there are, so that a file that was cut off is not taken for a whole one.
"""

from __future__ import annotations

import json
from typing import Any

from hector.dialects.native import parts_json, timestamp
from hector.model import Session, Task

FORMAT = "hector-session"
VERSION = 1


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
            "stopReason": task.stop_reason,
            "createdAt": timestamp(task.created_at),
            "endedAt": timestamp(task.updated_at),
        }
    )


def end_line(turns: int) -> bytes:
    return _line({"type": "end", "turns": turns})


def _line(data: dict[str, Any]) -> bytes:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
