"""What the product is about: sessions, tasks, messages and the events of a task's log. No I/O, no framework.

Times are whole milliseconds since the Unix epoch (UTC), so that every store, script and wire format holds the same.
"""

from __future__ import annotations

import re
import secrets
import uuid
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple

Millis = int


class TaskState(StrEnum):
    """The states of a task, as A2A names them (specification, section 4.1.3), lower case."""

    SUBMITTED = "submitted"
    WORKING = "working"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"
    REJECTED = "rejected"

    @property
    def terminal(self) -> bool:
        return self not in (TaskState.SUBMITTED, TaskState.WORKING)


class Role(StrEnum):
    USER = "user"
    AGENT = "agent"


class StopReason(StrEnum):
    """Why a completed answer is not whole. A whole one has none."""

    MAX_TOKENS = "max_tokens"
    CONTEXT_WINDOW = "context_window"


class TurnPolicy(StrEnum):
    """What happens to a message that meets a busy session: it is refused, waits, or cancels what is before it."""

    REJECT = "reject"
    ENQUEUE = "enqueue"
    INTERRUPT = "interrupt"


class EventKind(StrEnum):
    MESSAGE = "message"
    STATUS = "status"
    RESET = "reset"


class Principal(NamedTuple):
    """Who is asking: a subject within a tenant. Everything that is stored belongs to exactly one principal."""

    subject: str
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a message: exactly one of a text, the bytes of a file (`raw`), and the `url` of one.

    As in A2A 1.0 (specification, section 4.1.6). Raises ValueError for none of them, or more than one.
    """

    text: str | None = None
    media_type: str = "text/plain"
    raw: bytes | None = None
    url: str | None = None
    filename: str | None = None

    def __post_init__(self) -> None:
        if (self.text, self.raw, self.url).count(None) != 2:
            raise ValueError("a part is exactly one of text, raw and url")

    @property
    def note(self) -> str:
        """What stands in for a file where it cannot be shown."""
        return f"[A file: {self.filename or 'unnamed'}, {self.media_type}]"


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The texts of all parts, a blank line between them."""
        return "\n\n".join(part.text for part in self.parts if part.text is not None)

    @property
    def has_files(self) -> bool:
        return any(part.text is None for part in self.parts)

    def without_files(self) -> Message:
        """With a note in the place of each file."""
        return replace(self, parts=tuple(part if part.text is not None else Part(part.note) for part in self.parts))

    @staticmethod
    def of(role: Role, text: str) -> Message:
        return Message(role, (Part(text),))


class Usage(NamedTuple):
    """Tokens of one turn, as the model counted them."""

    input_tokens: int
    output_tokens: int


class TaskError(NamedTuple):
    """Why a task failed: a stable code for programs and a sentence for people."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Session:
    """A conversation of one principal with one agent (A2A: a context).

    `expires_at` slides: each turn moves it to `ttl` after its end, never past `last_expiry` (unless a turn is running).
    `turns` counts the turns that have ended; `open_task_id` is the task that is running right now, if one is;
    `waiting` are the tasks that wait for their turn, the next one first.
    """

    id: str
    agent_id: str
    principal: Principal
    created_at: Millis
    ttl: Millis
    expires_at: Millis
    last_expiry: Millis
    last_activity_at: Millis
    turns: int = 0
    open_task_id: str | None = None
    waiting: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)

    def slid(self, now: Millis) -> Millis:
        """The expiry after activity at `now`."""
        return min(now + self.ttl, self.last_expiry)


@dataclass(frozen=True, slots=True)
class Task:
    """One turn of work: its prompt, its answer, its final status.

    `turn` numbers the ended turns of a session from 1; it is 0 until the task has run. `last_event` is the number of
    the last event in the log; the terminal event, which is derived from this record, has the number after it.
    `stop_reason` is there where the model could not complete its answer.
    """

    id: str
    session_id: str
    agent_id: str
    state: TaskState
    input: Message
    created_at: Millis
    updated_at: Millis
    output: Message | None = None
    usage: Usage | None = None
    error: TaskError | None = None
    turn: int = 0
    last_event: int = 0
    stop_reason: StopReason | None = None


class Summary(NamedTuple):
    """What a session's turns 1 to `through` were about, in a few sentences of its agent's model."""

    text: str
    through: int


class Event(NamedTuple):
    """One numbered entry of a task's log; numbers start at 1 and have no gaps.

    A `message` event carries the next piece of the answer in `text`. A `status` event carries a `state` and, where
    there is one, a note about progress in `text` with the `fraction` (0 to 1) that is done, or an `error`, or the
    `stop_reason` of an answer that is not whole. A `reset` is never stored: it tells a reader who saw events that a
    crash took back that `number` is the last good one.
    """

    number: int
    kind: EventKind
    text: str = ""
    state: TaskState | None = None
    fraction: float | None = None
    error: TaskError | None = None
    stop_reason: StopReason | None = None


def terminal_event(task: Task) -> Event:
    """The one event that ends the task's log, derived from its record: so there is exactly one, by construction."""
    return Event(
        task.last_event + 1, EventKind.STATUS, state=task.state, error=task.error, stop_reason=task.stop_reason
    )


_ID = re.compile(r"[A-Za-z0-9-]{1,100}")


def new_session_id() -> str:
    return str(uuid.uuid4())


def new_task_id(session_id: str, now: Millis) -> str:
    """An id that names its session and sorts by time within it, so that no look-up index is needed."""
    return f"{session_id}-{now:011x}{secrets.token_hex(4)}"


def copied_task_id(session_id: str, at: Millis, turn: int) -> str:
    """The id of a task that is copied into a session: of the same form, and sorted by time and turn."""
    return f"{session_id}-{at:011x}{turn:08x}"


def session_id_of(task_id: str) -> str | None:
    """The session that a task id names; None if this cannot be a task id of ours."""
    if not is_id(task_id):
        return None
    session_id, _, suffix = task_id.rpartition("-")
    return session_id if session_id and len(suffix) == 19 else None


def is_id(text: str) -> bool:
    """Whether this can be the id of a session or a task at all."""
    return _ID.fullmatch(text) is not None


def clean_text(text: str) -> str:
    """The text without lone surrogates, which no wire format can carry; each becomes U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def working(task: Task) -> Task:
    """The task as a reader sees it while its turn is running."""
    return replace(task, state=TaskState.WORKING) if task.state is TaskState.SUBMITTED else task
