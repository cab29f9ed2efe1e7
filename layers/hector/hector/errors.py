"""Every error that the product raises on purpose.

HectorError
├── ConfigError                 hector.yaml or a setting is wrong; names file, line and key
├── InvalidRequest              a request is malformed; names the field
│   ├── InputTooLarge
│   ├── EncodedBody             it came compressed, say
│   └── IdempotencyKeyReused    same key, another body
├── NotFound                    no such thing, or not the caller's
├── SessionBusy                 the session has an open turn, or tasks that wait for theirs
│   └── LineFull                too many tasks wait already
├── TaskNotCancelable           the task has already ended
├── Stopping                    this server is going, and takes no more turns
├── StoreUnavailable            the session store cannot be reached or is not set up
├── QueueUnavailable            the work queue cannot be reached or is not set up
├── LeaseLost                   this worker may write nothing more (internal)
├── TaskClosed                  the task already has its final status (internal)
├── LostTurn                    the open turn's worker is gone and must be closed first (internal)
└── AgentError                  the agent could not answer; becomes a failed task
    └── ModelError              its model could not; tells whether to try again

`code` is stable and for programs, the message is for people and says what to do; `status` is the HTTP status.
"""

from __future__ import annotations


class HectorError(Exception):
    code = "internal"
    status = 500

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class ConfigError(HectorError):
    code = "config"


class InvalidRequest(HectorError):
    code = "invalid_request"
    status = 400


class InputTooLarge(InvalidRequest):
    code = "input_too_large"
    status = 413


class EncodedBody(InvalidRequest):
    code = "unsupported_media_type"
    status = 415

    @classmethod
    def with_(cls, encoding: str) -> EncodedBody:
        return cls(f"A body with the encoding {encoding!r} is not read: send it as it is.", field="Content-Encoding")


class IdempotencyKeyReused(InvalidRequest):
    code = "idempotency_key_reused"
    status = 422

    @classmethod
    def key(cls, key: str) -> IdempotencyKeyReused:
        return cls(
            f"The idempotency key {key!r} already stands for another request. Send the same body, or a new key.",
            field="Idempotency-Key",
        )


NEW_SESSION = "POST /sessions starts one."
"""What to do where a session is not found, in terms of the HTTP API."""


class NotFound(HectorError):
    code = "not_found"
    status = 404

    @classmethod
    def session(cls, session_id: str) -> NotFound:
        detail = f"There is no session {session_id!r}: it may have ended or expired. {NEW_SESSION}"
        return cls(detail, field="sessionId")

    @classmethod
    def task(cls, task_id: str) -> NotFound:
        return cls(f"There is no task {task_id!r}: its session may have ended or expired.", field="taskId")

    @classmethod
    def agent(cls, agent_id: str, known: list[str]) -> NotFound:
        return cls(f"There is no agent {agent_id!r}. This server has: {', '.join(known)}.", field="agentId")


class SessionBusy(HectorError):
    """`task_id` is the open turn; `retry_after` is in seconds."""

    code = "session_busy"
    status = 409

    def __init__(self, task_id: str, retry_after: int = 1) -> None:
        super().__init__(
            f"The session is busy with task {task_id!r}. Wait for it to end, cancel it, or follow its stream."
        )
        self.task_id = task_id
        self.retry_after = retry_after


class LineFull(SessionBusy):
    code = "too_many_waiting"

    def __init__(self, task_id: str, most: int, retry_after: int = 1) -> None:
        super().__init__(task_id, retry_after)
        self.message = f"{most} messages wait in this session already, and no more may. Send this one again later."


class TaskNotCancelable(HectorError):
    code = "task_not_cancelable"
    status = 409


class Stopping(HectorError):
    code = "stopping"
    status = 503


class StoreUnavailable(HectorError):
    code = "store_unavailable"
    status = 503


class QueueUnavailable(HectorError):
    code = "queue_unavailable"
    status = 503


class LeaseLost(HectorError):
    code = "lease_lost"


class TaskClosed(HectorError):
    code = "task_closed"


class LostTurn(HectorError):
    code = "lost_turn"

    def __init__(self, task_id: str) -> None:
        super().__init__(f"The worker of task {task_id!r} is gone.")
        self.task_id = task_id


class AgentError(HectorError):
    """Why the agent could not answer. `code` tells a program, the message tells a user."""

    status = 502

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = str(code)


class ModelError(AgentError):
    """Why the model could not answer. `retry`: the same call may succeed in a moment, and costs nothing twice;
    `retry_after`: in so many seconds, as the model's server said."""

    def __init__(self, code: str, message: str, *, retry: bool = False, retry_after: float | None = None) -> None:
        super().__init__(code, message)
        self.retry = retry
        self.retry_after = retry_after
