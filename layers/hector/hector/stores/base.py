"""The store protocol: what a session store must do, and the guarantees that its four verbs carry.

`submit`, `claim`, `append_events` and `commit` are each one conditional write; none needs a transaction over several
items. Owner and tenant are checked in here, so that no route can forget them: what belongs to somebody else is *not
found*. Expiry is decided by the clock on every call, never by whether a row is still there. Each `nonce` marks one
attempt, so that a retry whose first answer was lost is recognised as one's own.

A new store implements `Store` and passes the contract suite, `hector.testing`: docs/own-store.md says how.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from hector.model import (
    Event,
    Message,
    Millis,
    Principal,
    Session,
    StopReason,
    Summary,
    Task,
    TaskError,
    TaskState,
    Usage,
)

T = TypeVar("T")
Clock = Callable[[], Millis]


def system_clock() -> Millis:
    return time.time_ns() // 1_000_000


class Idempotency(NamedTuple):
    """A client's key for one piece of work, and the fingerprint of the body that it stands for."""

    key: str
    fingerprint: str


class Submitted(NamedTuple):
    """`created` is False when the idempotency key gave back a task from before."""

    task: Task
    created: bool


class Lease(NamedTuple):
    """The right to run the one open turn of a session until `until`; `fence` only grows.

    `head` is the number of turns that had ended at the claim. The worker's `session` is as it was at the claim.
    `cancel_requested`: somebody has asked for it, or a message that interrupts waits behind this turn.
    """

    session: Session
    task_id: str
    fence: int
    until: Millis
    cancel_requested: bool = False

    @property
    def head(self) -> int:
        return self.session.turns


class Outcome(NamedTuple):
    """How a turn ended; `last_event` is the number of the last event in its log (0 if none)."""

    state: TaskState
    last_event: int
    output: Message | None = None
    usage: Usage | None = None
    error: TaskError | None = None
    stop_reason: StopReason | None = None

    def applied_to(self, task: Task, *, now: Millis, turn: int = 0) -> Task:
        """The task as it has ended; `turn` is its number in the history, 0 if its turn has not come."""
        return replace(
            task,
            state=self.state,
            output=self.output,
            usage=self.usage,
            error=self.error,
            last_event=self.last_event,
            stop_reason=self.stop_reason,
            turn=turn,
            updated_at=now,
        )


class StagedTurn(NamedTuple):
    """A turn that has ended elsewhere, and the log that it has here, which ends with number `task.last_event`."""

    task: Task
    events: Sequence[Event]


class LogPage(NamedTuple):
    """The next events of a log.

    `open`: the task's turn is running; `lost`: it is open, but its lease has run out; `waiting`: the task is lined up.
    """

    events: list[Event]
    open: bool
    lost: bool
    waiting: bool = False


class PastTask(NamedTuple):
    """A task that has ended, and the next events of its log, whether its session has expired since or not."""

    task: Task
    events: list[Event]


class Unfinished(NamedTuple):
    """A session in which nobody seems to be at work, though a turn was lost, or tasks wait."""

    session: Session
    lost_task_id: str | None


class Check(NamedTuple):
    """One thing about the engine that was looked at; where it is not `ok`, the `detail` says what to do.

    `missing`: what the store keeps its sessions in has not been made yet.
    """

    name: str
    ok: bool
    detail: str
    missing: bool = False


class Page(NamedTuple, Generic[T]):
    items: list[T]
    next_cursor: str | None = None


class Store(Protocol):
    def open(self) -> None:
        """Make ready what the first call would wait for. A Lambda function calls this while it starts."""

    async def set_up(self) -> None:
        """Make what the engine has to have, such as a table, or bring it up to date. Repeatable. See `check`."""

    async def check(self) -> list[Check]:
        """Look at everything that the store needs of its engine, and change nothing."""

    async def create_session(self, session: Session, *, idempotency: Idempotency | None = None) -> Session:
        """Record a new session, with the turns that were staged for it. A second call changes nothing.

        Gives back the session, as it is now. With an idempotency key, which counts among all sessions of the principal,
        that is the session that the key stands for, from before perhaps. A key is free again when its session has
        ended or expired. Raises IdempotencyKeyReused when the key stands for another body.
        """

    async def read_session(self, principal: Principal, session_id: str) -> Session:
        """Raises NotFound."""

    async def list_sessions(
        self, principal: Principal, *, agent_id: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Session]:
        """The principal's sessions, newest activity first. Raises InvalidRequest for a cursor that is not ours.

        Where a store had to look at very many for it, a page may be short, or empty, and have a cursor all the same.
        Activity is the start of a turn (or the session's creation): an index over it costs one change per turn.
        """

    async def update_session(
        self,
        principal: Principal,
        session_id: str,
        *,
        ttl: Millis | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Session:
        """Change what is given, and nothing of a turn that is running; the metadata is replaced as a whole.

        With a new `ttl` the session expires that long after now (never past its last expiry, nor in an open turn); the
        next turn slides it by the same. Raises NotFound.
        """

    async def delete_session(self, principal: Principal, session_id: str) -> None:
        """End the session and erase all that belongs to it. Raises NotFound."""

    async def stage_turns(
        self, session: Session, turns: Sequence[StagedTurn], *, summary: Summary | None = None
    ) -> None:
        """Record ended turns of a session that is not created yet, some at a time: `create_session` makes them visible.

        Their tasks are numbered from 1 by `turn`, in the order in which they are handed in (which is mostly, but where
        tasks waited not always, that of their ids), and `session.turns` is their number in the end. A task that ended
        before its turn came has `turn` 0, and is no part of the history. `summary` is one of these turns. Until the
        session is created nobody sees any of this, and a crash leaves nothing that anybody will see. Nothing that an
        engine does later about a session that had this id before, and was erased, may touch it.
        """

    async def unstage(self, session: Session) -> None:
        """Erase what was staged for a session that will not be created; silent if there is nothing."""

    async def submit(self, task: Task, *, nonce: str, idempotency: Idempotency | None = None) -> Submitted:
        """Record the task with its message as SUBMITTED. The caller has read the session; `claim` checks it again.

        A task that is there already is given back as it is, never written over. With an idempotency key, the task
        given back may have another id than the one handed in. Raises IdempotencyKeyReused when the key stands for
        another body, NotFound when there is no such session.
        """

    async def discard(self, task: Task, *, nonce: str) -> None:
        """Take back what `submit` recorded under this nonce, as long as nobody has run it; it leaves the line, too.

        With an idempotency key, one that is in the line stays: another request with the key may have lined it up.
        """

    async def claim(
        self, principal: Principal, session_id: str, task_id: str, *, lease: Millis, nonce: str, takeover: bool = True
    ) -> Lease:
        """Take the lease on the session's open turn; the fence grows by one, the expiry slides.

        An open turn whose lease ran out can be claimed again for the same task only, and only with `takeover`: then its
        old worker can write nothing more, and a cancel mark stays. The task itself is not looked at, so that it may be
        submitted side by side: a worker that did not submit it reads it after the claim. While tasks wait, only the
        first of them can be claimed, and leaves the line by that. Raises NotFound, SessionBusy (a live lease, or
        another task is next), LostTurn (a lease ran out).
        """

    async def line_up(self, principal: Principal, task_id: str, *, most: int, interrupt: bool = False) -> Session:
        """Let a submitted task wait for its turn, behind those that wait already; activity and expiry slide.

        At most `most` tasks wait at once; with 0, the session has to be free. `interrupt` cancels every turn before
        this one: the open one, and those that wait, once they are claimed. A task that waits already, whose turn is
        open, or that has ended, stays as it is. Raises NotFound, LineFull, and with `most` 0 SessionBusy and LostTurn
        as `claim` does.
        """

    async def leave_line(self, principal: Principal, task_id: str, outcome: Outcome, *, nonce: str) -> Task:
        """End a task whose turn is not open, and take it out of the line; it is no turn of the session's history.

        The outcome holds what it said before it was handed over, if it had begun.

        Gives back the task as it is now: WORKING if its turn was begun meanwhile, which changes nothing; ended before,
        by somebody else, it only leaves the line. Raises NotFound.
        """

    async def append_events(self, lease: Lease, events: Sequence[Event], *, extend: Millis) -> Lease:
        """Append a batch to the log and renew the lease to `extend` from now; with no events, only renew.

        The batch begins with the number after the log's last one. The same batch again changes nothing. The answer
        carries the cancel mark. Raises LeaseLost, with nothing written.
        """

    async def check_lease(self, lease: Lease) -> Lease:
        """Read the cancel mark, without writing. Raises LeaseLost."""

    async def commit(self, lease: Lease, outcome: Outcome, *, nonce: str) -> Task:
        """Write answer and final status, once. Raises LeaseLost, TaskClosed, NotFound (the session was erased)."""

    async def release(self, lease: Lease, *, next_in_line: bool = False) -> None:
        """Give the lease back after `commit`; repeatable, and silent if the lease is no longer ours.

        With `next_in_line` the turn has not ended, and somebody else shall go on with it: the task waits again, before
        all that wait already, and interrupts none.
        """

    async def read_history(self, principal: Principal, session_id: str, *, limit: int) -> list[Task]:
        """The newest `limit` turns that have ended, oldest first, by their `turn` number. Raises NotFound."""

    async def read_task(self, principal: Principal, task_id: str) -> Task:
        """The task, WORKING while its turn is open. Raises NotFound."""

    async def list_tasks(
        self,
        principal: Principal,
        session_id: str,
        *,
        state: TaskState | None = None,
        oldest_first: bool = False,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Task]:
        """The session's tasks, newest first unless asked otherwise; those in one state if that is given.

        Raises NotFound, InvalidRequest.
        """

    async def read_events(
        self, principal: Principal, task_id: str, *, after: int, limit: int = 1000, wait: Millis = 0
    ) -> LogPage:
        """The events after number `after`, without gaps. Raises NotFound.

        A store that can be told of new events waits for them up to `wait`; the others answer at once.
        Where the page is not `open`, its events are all that the log will ever hold, unless the task is SUBMITTED.
        """

    async def read_past(self, principal: Principal, task_id: str, *, after: int, limit: int = 1000) -> PastTask:
        """A task that has ended, and its events after number `after`, also if its session has expired since.

        For those who followed it until then, so that all of them are told one end; never for a route, to which it does
        not exist. Raises NotFound for one that has not ended, and once the session is erased: at the earliest a minute
        after its expiry, or when it is deleted.
        """

    async def request_cancel(self, principal: Principal, task_id: str) -> Task:
        """Mark the open turn for cancelling; a task that waits is CANCELED at once.

        One that waits again, and has a log, stays as it is: `leave_line` ends it with what it said. Raises NotFound,
        TaskNotCancelable.
        """

    async def read_summary(self, principal: Principal, session_id: str) -> Summary | None:
        """The newest summary of the session's older turns, if there is one. Raises NotFound."""

    async def save_summary(self, lease: Lease, summary: Summary) -> None:
        """Keep it in place of the one before, unless that one goes further. Raises LeaseLost."""

    async def read_owner(self, session_id: str) -> Principal:
        """Whose session this is: for workers that are handed a task's id alone, never for a route. Raises NotFound."""

    async def list_every_session(self, *, cursor: str | None = None, limit: int = 100) -> Page[Session]:
        """The sessions of everybody, each once, in no particular order: for operators, never for a route."""

    async def list_unfinished(self, *, cursor: str | None = None, limit: int = 100) -> Page[Unfinished]:
        """The sessions, of everybody, that a sweep has to look after. The cursor is the store's own.

        A turn whose lease has run out, or tasks that wait while no turn is open. A store may leave out those without
        activity in the last hour, and in the time that the longest turn may take before it.
        """

    async def clean_up(self) -> int:
        """Erase what expired sessions have left, where the engine does not do so by itself; how many there were.

        Nobody can see them in any case. Bounded work: what is left is for the next call.
        """

    async def aclose(self) -> None:
        """Close connections. The store cannot be used afterwards."""
