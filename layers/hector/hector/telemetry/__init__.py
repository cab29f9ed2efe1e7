"""What is measured, and whom a log line is about.

Nobody listens unless `listen` says who, and then all of this costs nothing. On Lambda, `on_lambda` does.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from enum import StrEnum

from hector.model import Task, TaskState

MINUTE = 60.0


class Measure(StrEnum):
    """Sums, but for the time to the first token, which is in milliseconds since the task was submitted."""

    TURNS = "Turns"
    FAILED_TURNS = "FailedTurns"
    CANCELS = "Cancels"
    FIRST_TOKEN = "TimeToFirstToken"
    INPUT_TOKENS = "InputTokens"
    OUTPUT_TOKENS = "OutputTokens"
    OPEN_STREAMS = "OpenStreams"
    """Each stream once for every minute in which it is open: the sum of a minute is how many were open."""
    RESUMES = "Resumes"
    LOST_WORKERS = "LostWorkers"


class Times:
    """Of a turn, in seconds since 1970; no first token if the agent said nothing."""

    __slots__ = ("began", "ended", "first_token")

    def __init__(self, began: float, first_token: float | None, ended: float) -> None:
        self.began, self.first_token, self.ended = began, first_token, ended


class Listener:
    """Takes what is measured; this one does nothing with it."""

    def count(self, measure: Measure, value: float) -> None:
        """Must not take long: a token may be waiting."""

    def turn_ended(self, task: Task, times: Times) -> None:
        """Must not take long, either: the end has not been told yet. Nothing of what was said may go anywhere."""

    def flush(self) -> None:
        """Hand on what was counted. May take its time, once."""


TASK: ContextVar[str] = ContextVar("hector_task", default="")
"""The task that this is about; its session is part of its id."""
REQUEST: ContextVar[str] = ContextVar("hector_request", default="")
"""The gateway's id of the request that this is about."""

_SILENT = Listener()
_listener = _SILENT


def listen(listener: Listener = _SILENT) -> None:
    """From now on, in this process; without a listener, nobody does."""
    global _listener
    _listener = listener


def listening() -> bool:
    return _listener is not _SILENT


def count(measure: Measure, value: float = 1) -> None:
    _listener.count(measure, value)


def flush() -> None:
    _listener.flush()


class TurnClock:
    """The times of one turn; made when it begins to run."""

    def __init__(self) -> None:
        self._began = time.time()
        self._first_token: float | None = None

    def token(self) -> None:
        if self._first_token is None:
            self._first_token = time.time()

    def ended(self, task: Task) -> None:
        count(Measure.TURNS)
        if task.state is TaskState.FAILED:
            count(Measure.FAILED_TURNS)
        elif task.state is TaskState.CANCELED:
            count(Measure.CANCELS)
        if self._first_token is not None:
            count(Measure.FIRST_TOKEN, max(0.0, self._first_token * 1000 - task.created_at))
        if task.usage is not None:
            count(Measure.INPUT_TOKENS, task.usage.input_tokens)
            count(Measure.OUTPUT_TOKENS, task.usage.output_tokens)
        _listener.turn_ended(task, Times(self._began, self._first_token, time.time()))


class OpenStream:
    """Counts a stream while it is open; `tick` as often as one likes."""

    def __init__(self) -> None:
        self._next = time.monotonic() + MINUTE

    def tick(self) -> None:
        if time.monotonic() >= self._next:
            self._next += MINUTE
            count(Measure.OPEN_STREAMS)
            flush()  # who watches wants to see it while it is open

    def close(self) -> None:
        count(Measure.OPEN_STREAMS)
