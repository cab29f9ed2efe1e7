"""How a turn ends: why it is ended from outside, and what that, or an error of its agent, is called."""

from __future__ import annotations

from enum import Enum

from hector.errors import AgentError
from hector.model import TaskError, TaskState, clean_text

_DEADLINE = (
    "The function's time was over before the agent had finished. Give it more (the function's Timeout), "
    "or let another one go on (turns.on_deadline: hand_over)."
)

LONGEST = 2_000
"""Characters of an error's message."""


class Stop(Enum):
    """Why a turn is ended from outside."""

    CANCELED = "canceled"
    TIMEOUT = "timeout"
    DEADLINE = "deadline"
    WORKER_STOPPED = "worker_stopped"
    LOST = "lost"


def ending(stop: Stop | None, error: BaseException | None, seconds: float) -> tuple[TaskState, TaskError | None]:
    """The final state, and the error of a failed turn; `seconds` is the time that it had."""
    match stop:
        case Stop.CANCELED:
            return TaskState.CANCELED, None
        case Stop.TIMEOUT:
            code, message = "timeout", f"The agent did not finish within {seconds:g} seconds."
        case Stop.DEADLINE:
            code, message = "deadline", _DEADLINE
        case Stop.WORKER_STOPPED:
            code, message = "worker_stopped", "The server was stopped in the middle of this answer. Send it again."
        case _ if isinstance(error, AgentError):
            # An agent's own subclass may have left out what ours begins with.
            message = getattr(error, "message", None) or f"The agent raised {type(error).__name__}."
            code, message = (clean_text(str(text))[:LONGEST] for text in (error.code, message))
        case _ if error is not None:
            code, message = "agent_error", f"The agent raised {type(error).__name__}; the server's log says more."
        case _:
            return TaskState.COMPLETED, None
    return TaskState.FAILED, TaskError(code, message)
