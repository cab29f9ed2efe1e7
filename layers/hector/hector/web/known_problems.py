"""The errors that routes answer, for the OpenAPI document: what each means, and an example out of the error itself."""

from __future__ import annotations

from typing import Any, NamedTuple

from hector.errors import (
    EncodedBody,
    HectorError,
    IdempotencyKeyReused,
    InputTooLarge,
    InvalidRequest,
    LineFull,
    NotFound,
    QueueUnavailable,
    SessionBusy,
    Stopping,
    StoreUnavailable,
    TaskNotCancelable,
)
from hector.web.problems import document, problem_document

SESSION_ID = "550e8400-e29b-41d4-a716-446655440000"
TASK_ID = f"{SESSION_ID}-019bf0a1b2c3d4e5f60"


class KnownProblem(NamedTuple):
    status: int
    meaning: str
    example: dict[str, Any]
    retry_after: bool = False


def _known(meaning: str, error: HectorError) -> KnownProblem:
    return KnownProblem(error.status, meaning, document(error), isinstance(error, SessionBusy))


def _malformed(detail: str, field: str) -> KnownProblem:
    return _known("The request is malformed; `field` names where", InvalidRequest(detail, field=field))


def _missing(error: NotFound) -> KnownProblem:
    return _known("No such thing, or not yours", error)


PROBLEMS: dict[str, KnownProblem] = {
    "wrong_ttl": _malformed("ttl is wrong: input should be greater than 0.", "ttl"),
    "wrong_task_id": _malformed("taskId must name a turn of this session that has ended.", "taskId"),
    "wrong_limit": _malformed("limit must be a number from 1 to 100, not '0'.", "limit"),
    "wrong_input": _malformed("input.content is missing.", "input.content"),
    "wrong_message": _malformed("message.parts is missing.", "message.parts"),
    "wrong_line": _malformed("Line 2: state is missing.", "line 2: state"),
    "wrong_number": _malformed("after must be the number of an event, not '-1'.", "after"),
    "no_session_id": _malformed("sessionId is missing: tasks are listed by session.", "sessionId"),
    "no_session": _missing(NotFound.session(SESSION_ID)),
    "no_task": _missing(NotFound.task(TASK_ID)),
    "no_agent": _missing(NotFound.agent("suport_agent", ["my_agent", "support_agent"])),
    "session_busy": _known("The session is busy", SessionBusy(TASK_ID)),
    "too_many_waiting": _known("Too many messages wait in the session already", LineFull(TASK_ID, 10)),
    "task_not_cancelable": _known("The task has ended", TaskNotCancelable(f"Task {TASK_ID!r} is already completed.")),
    "body_too_large": _known("Too large", InputTooLarge("The body is larger than 4,194,304 bytes.")),
    "line_too_large": _known("Too large", InputTooLarge("Line 2 is longer than 16,777,216 bytes.", field="line 2")),
    "encoded_body": _known("The body is encoded", EncodedBody.with_("gzip")),
    "key_reused": _known("The idempotency key stands for another request", IdempotencyKeyReused.key("order-7")),
    "internal": _known("A mistake of the server's", HectorError("The server failed with KeyError; its log says more.")),
    "store_unavailable": _known(
        "The session store cannot be reached, or is busy",
        StoreUnavailable("The DynamoDB table 'sessions' is busy (ThrottlingException): try again in a moment."),
    ),
    "queue_unavailable": _known(
        "The work queue cannot be reached",
        QueueUnavailable("The work queue cannot be used (EndpointConnectionError): check HECTOR_QUEUE."),
    ),
    "stopping": _known(
        "The server is being stopped",
        Stopping("This server is being stopped. Send the message again, to another one or in a moment."),
    ),
}
EVERYWHERE = ("internal",)
BODY = ("encoded_body",)
STORED = ("store_unavailable",)

ROUTELESS: dict[str, tuple[str, dict[str, Any]]] = {
    "NoRoute": (
        "No route has this path",
        problem_document(404, "not_found", "There is no route '/session'. GET /docs lists the routes."),
    ),
    "MethodNotAllowed": (
        "The path has no such method; `Allow` names those that it has",
        problem_document(405, "method_not_allowed", "PUT is not possible on '/sessions'."),
    ),
}
"""What is answered where there is no route at all."""
