"""Whole examples for the OpenAPI document: of the bodies that are sent, and of the answers to them."""

from __future__ import annotations

from typing import Any

from hector.web.known_problems import SESSION_ID, TASK_ID
from hector.web.schemas import SCHEMAS

_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
_QUESTION = {"type": "text", "text": "What is my name?"}

BODIES: dict[str, dict[str, Any]] = {
    "CreateSession": {
        "with_an_agent": {"agentId": "support_agent"},
        "for_half_an_hour": {"agentId": "support_agent", "ttl": "30m", "metadata": {"plan": "gold"}},
    },
    "UpdateSession": {"longer": {"ttl": "2h"}, "other_metadata": {"metadata": {"plan": "platinum"}}},
    "ForkSession": {
        "at_its_end": {},
        "at_a_turn": {"taskId": TASK_ID, "metadata": {"branch": "b"}},
    },
    "PostTask": {
        "a_text": {"input": {"type": "text/plain", "content": "What is my name?"}},
        "an_image": {"input": {"type": "image/png", "content": _PIXEL}},
        "that_may_wait": {"input": {"content": "And my plan?"}, "turnPolicy": "enqueue"},
    },
    "SendMessage": {
        "in_a_new_session": {"message": {"role": "user", "parts": [_QUESTION]}},
        "in_a_session": {"message": {"role": "user", "parts": [_QUESTION]}, "contextId": SESSION_ID},
        "as_the_stream_says": {"message": {"role": "user", "parts": [_QUESTION]}, "context_id": SESSION_ID},
        "with_a_file": {
            "message": {
                "role": "user",
                "parts": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "file", "raw": _PIXEL, "mediaType": "image/png", "filename": "pixel.png"},
                ],
            }
        },
    },
    "SessionFile": {"of_one_turn": SCHEMAS["SessionFile"]["example"]},
}
"""By the body's schema."""

_TASK = SCHEMAS["Task"]["example"]
_AT = _TASK["createdAt"]
_ERROR = {"code": "model_timeout", "message": "The model's server gave up on the request: try again."}
_SILENT = {**_TASK, "output": None, "usage": None}

ANSWERS: dict[tuple[str, int], dict[str, Any]] = {
    ("Task", 200): {
        "completed": _TASK,
        "cut": {**_TASK, "stopReason": "max_tokens"},
        "failed": {**_SILENT, "status": {"state": "failed", "timestamp": _AT, "error": _ERROR}, "lastEventId": 1},
        "working": {
            **_SILENT,
            "status": {"state": "working", "timestamp": _AT, "message": "reading page 3 of 4", "fraction": 0.75},
            "lastEventId": None,
        },
        "canceled": {**_SILENT, "status": {"state": "canceled", "timestamp": _AT}, "lastEventId": 1},
    },
    ("Task", 202): {
        "submitted": {**_SILENT, "status": {"state": "submitted", "timestamp": _AT}, "lastEventId": None},
    },
}
"""By schema and status, where one example does not show it all."""


def answers(schema: str, status: int) -> dict[str, Any]:
    """The examples of an answer, by name."""
    return ANSWERS.get((schema, status)) or {schema[0].lower() + schema[1:]: SCHEMAS[schema]["example"]}
