"""A store beside the reference: random calls to both, under one clock, must come to the same.

    def test_it_does_as_the_reference_does(make_store):
        drive_beside_reference(make_store)

Needs the package hypothesis, which also says what the shortest sequence of calls is that comes to something else.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from hector.errors import HectorError, LeaseLost, NotFound, SessionBusy, StoreUnavailable, TaskClosed
from hector.model import (
    Event,
    Message,
    Principal,
    Role,
    Session,
    Summary,
    Task,
    TaskError,
    TaskState,
    Usage,
    new_session_id,
    new_task_id,
)
from hector.stores.base import Idempotency, Lease, Outcome, Page, StagedTurn, Store
from hector.stores.log import ended_early
from hector.stores.memory import MemoryStore
from hector.testing.bench import MakeStore, pieces, said
from hector.testing.clock import ManualClock

Call = Callable[[Store], Awaitable[Any]]
PICK = st.integers(0, 7)
TTLS = st.sampled_from([5_000, 60_000])
STEPS_MS = st.sampled_from([1, 1, 1_000, 4_999, 15_000, 60_000])
KEYS = st.sampled_from([None, None, "a", "b"])


def drive_beside_reference(
    make_store: MakeStore, *, programs: int = 15, calls: int = 40, same_each_time: bool = False
) -> None:
    """So many random programs, of at most so many calls each; `same_each_time`: drawn once and for all.

    Raises AssertionError where the stores differ.
    """
    clock = ManualClock()
    with asyncio.Runner() as runner:
        store = make_store(clock)
        runner.run(store.set_up())
        try:
            run_state_machine_as_test(
                lambda: Beside(runner, store, clock),  # type: ignore[arg-type]  # any callable will do
                settings=settings(
                    max_examples=programs,
                    stateful_step_count=calls,
                    derandomize=same_each_time,
                    deadline=None,
                    database=None,
                    print_blob=False,
                    phases=[Phase.generate, Phase.shrink],
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(store.aclose())


class Beside(RuleBasedStateMachine):
    """Each rule is one call to both stores, as a caller that keeps to the protocol may make it."""

    def __init__(self, runner: asyncio.Runner, store: Store, clock: ManualClock) -> None:
        super().__init__()
        self._run = runner.run
        self._store = store
        self._clock = clock
        self._reference = MemoryStore(clock)
        self._owner = Principal(f"owner-{secrets.token_hex(8)}", "tenant")
        self._sessions: list[Session] = []
        self._tasks: list[Task] = []
        self._nonces: dict[tuple[str, str], str] = {}
        self._leases: list[tuple[Lease, Lease]] = []
        self._batches: dict[int, list[Event]] = {}
        self._committed: set[str] = set()
        self._last: tuple[Call, bool] | None = None
        """The last call that writes, or is a worker's (then: True)."""

    @initialize(ttl=TTLS)
    def begin(self, ttl: int) -> None:
        self.create(ttl, 0, None, "body")

    # Sessions

    @rule(ttl=TTLS, staged=st.integers(0, 3), key=KEYS, body=st.sampled_from(["body", "body", "other"]))
    def create(self, ttl: int, staged: int, key: str | None, body: str) -> None:
        now = self._tick()
        session = Session(
            new_session_id(), "agent", self._owner, now, ttl, now + ttl, now + 4 * ttl, now, turns=staged,
            metadata={"n": len(self._sessions)},
        )  # fmt: skip
        turns = [_ended(session, number + 1) for number in range(staged)]
        if turns:
            self._both(lambda store: store.stage_turns(session, turns[:1]))
            self._both(lambda store: store.stage_turns(session, turns[1:], summary=Summary("so far", 1)))
        idempotency = Idempotency(key, body) if key else None
        made = self._write(lambda store: store.create_session(session, idempotency=idempotency))
        if isinstance(made, Session) and made.id == session.id:
            self._sessions.append(session)
        elif turns:
            self._both(lambda store: store.unstage(session))

    @rule(session=PICK, ttl=st.sampled_from([None, 1_000, 30_000]), metadata=st.sampled_from([None, {}, {"a": [1]}]))
    def update(self, session: int, ttl: int | None, metadata: dict[str, Any] | None) -> None:
        id_ = self._session(session).id
        self._write(lambda store: store.update_session(self._owner, id_, ttl=ttl, metadata=metadata))
        self._compare_session(id_)

    @precondition(lambda self: len(self._sessions) > 1)
    @rule(session=PICK)
    def delete(self, session: int) -> None:
        id_ = self._session(session).id
        self._write(lambda store: store.delete_session(self._owner, id_))
        self._compare_session(id_)

    # Tasks

    @rule(session=PICK, key=KEYS, body=st.sampled_from(["body", "body", "other"]))
    def submit(self, session: int, key: str | None, body: str) -> None:
        task, nonce = self._new_task(session), self._nonce()
        if not self._alive(task.session_id):
            return
        idempotency = Idempotency(key, body) if key else None
        self._nonces["submit", task.id] = nonce
        self._tasks.append(task)
        self._write(lambda store: store.submit(task, nonce=nonce, idempotency=idempotency))

    @precondition(lambda self: self._tasks)
    @rule(task=PICK, mine=st.booleans())
    def discard(self, task: int, mine: bool) -> None:
        chosen = self._task(task)
        nonce = self._nonces["submit", chosen.id] if mine else self._nonce()
        record = self._reference.records.get(chosen.session_id)
        # Whoever has let it line up, or has said something in its turn, does not take it back.
        if record and (chosen.id in record.waiting or record.logs.get(chosen.id)):
            return
        self._write(lambda store: store.discard(chosen, nonce=nonce))
        self._compare_task(chosen.id)

    @precondition(lambda self: self._tasks)
    @rule(task=PICK, lease=st.sampled_from([1_000, 15_000]), takeover=st.booleans(), again=st.booleans())
    def claim(self, task: int, lease: int, takeover: bool, again: bool) -> None:
        chosen = self._task(task)
        nonce = self._nonces.get(("claim", chosen.id)) if again else None
        nonce = nonce or self._nonce()
        self._nonces["claim", chosen.id] = nonce
        self._claim(chosen, lease, takeover, nonce)

    @rule(session=PICK, lease=st.sampled_from([1_000, 15_000]))
    def claim_first(self, session: int, lease: int) -> None:
        """Before the task is submitted."""
        task = self._new_task(session)
        self._nonces["submit", task.id] = self._nonce()
        self._tasks.append(task)
        self._claim(task, lease, True, self._nonce())

    @rule(session=PICK, said_already=st.integers(0, 3), state=st.sampled_from([TaskState.COMPLETED, TaskState.FAILED]))
    def whole_turn(self, session: int, said_already: int, state: TaskState) -> None:
        before = len(self._leases)
        self.submit(session, None, "body")
        if not self._tasks or self._tasks[-1].session_id != self._session(session).id:
            return
        self._claim(self._tasks[-1], 15_000, True, self._nonce())
        if len(self._leases) > before:
            self.append(before, said_already, False)
            self.commit(before, state, False)
            self.release(before)

    @rule(session=PICK, said_already=st.integers(0, 3), commits_late=st.booleans())
    def handed_over(self, session: int, said_already: int, commits_late: bool) -> None:
        before = len(self._leases)
        self.submit(session, None, "body")
        if not self._tasks or self._tasks[-1].session_id != self._session(session).id:
            return
        self._claim(self._tasks[-1], 15_000, True, self._nonce())
        if len(self._leases) > before:
            self.append(before, said_already, False)
            self.release(before, True)
            if commits_late:
                self.commit(before, TaskState.COMPLETED, False)

    @precondition(lambda self: self._tasks)
    @rule(task=PICK, most=st.sampled_from([0, 1, 3]), interrupt=st.booleans())
    def line_up(self, task: int, most: int, interrupt: bool) -> None:
        chosen = self._task(task)
        record = self._reference.records.get(chosen.session_id)
        known = record.tasks.get(chosen.id) if record else None
        if known is not None and (known.state.terminal or self._has_said(chosen.id)):
            return  # only what has not begun lines up
        self._write(lambda store: store.line_up(self._owner, chosen.id, most=most, interrupt=interrupt))
        self._compare_session(chosen.session_id)

    @precondition(lambda self: self._tasks)
    @rule(task=PICK)
    def leave_line(self, task: int) -> None:
        chosen, nonce = self._task(task), self._nonce()
        if chosen.id in self._committed:
            return
        outcome = ended_early(TaskState.FAILED, self._log(chosen.id), TaskError("wait_timeout", "too long"))
        self._write(lambda store: store.leave_line(self._owner, chosen.id, outcome, nonce=nonce))
        self._compare_task(chosen.id)

    @precondition(lambda self: self._tasks)
    @rule(task=PICK)
    def cancel(self, task: int) -> None:
        chosen = self._task(task)
        self._write(lambda store: store.request_cancel(self._owner, chosen.id))
        self._compare_task(chosen.id)

    # A worker's calls, with leases that may have passed to another

    @precondition(lambda self: self._leases)
    @rule(lease=PICK, count=st.integers(0, 3), again=st.booleans())
    def append(self, lease: int, count: int, again: bool) -> None:
        index, (mine, theirs) = self._lease(lease)
        if self._has_ended(mine.task_id):
            count = 0  # its worker reads it, or finds the mark, and says nothing
        first = len(self._log(mine.task_id)) + 1
        events = self._batches.get(index, []) if again else pieces(first, first + count - 1)
        if again and events and events[-1].number != first - 1:
            return  # a worker repeats its last batch, and no other
        self._batches[index] = events or self._batches.get(index, [])

        def call(store: Store) -> Awaitable[Any]:
            held = theirs if store is self._store else mine
            return store.append_events(held, events, extend=15_000)

        self._worker(call)

    @precondition(lambda self: self._leases)
    @rule(lease=PICK)
    def check_lease(self, lease: int) -> None:
        _, (mine, theirs) = self._lease(lease)
        self._worker(lambda store: store.check_lease(theirs if store is self._store else mine))

    @precondition(lambda self: self._leases)
    @rule(lease=PICK, state=st.sampled_from([TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELED]),
          again=st.booleans())  # fmt: skip
    def commit(self, lease: int, state: TaskState, again: bool) -> None:
        _, (mine, theirs) = self._lease(lease)
        if again and not self._is_open(mine.task_id):
            return  # a store may still know its own commit then, or not
        nonce = (self._nonces.get(("commit", mine.task_id)) if again else None) or self._nonce()
        self._nonces["commit", mine.task_id] = nonce
        outcome = Outcome(
            state, len(self._log(mine.task_id)), Message.of(Role.AGENT, "answer"), Usage(1, 2),
            TaskError("code", "why") if state is TaskState.FAILED else None,
        )  # fmt: skip

        def call(store: Store) -> Awaitable[Any]:
            return store.commit(theirs if store is self._store else mine, outcome, nonce=nonce)

        if isinstance(self._worker(call), Task):
            self._committed.add(mine.task_id)
        self._compare_task(mine.task_id)

    @precondition(lambda self: self._leases)
    @rule(lease=PICK, to_go_on=st.booleans())
    def release(self, lease: int, to_go_on: bool = False) -> None:
        _, (mine, theirs) = self._lease(lease)
        ended = mine.task_id in self._committed
        if not ended and not to_go_on and self._log(mine.task_id):
            return  # who has said something commits first
        next_in_line = to_go_on and not ended

        def call(store: Store) -> Awaitable[Any]:
            return store.release(theirs if store is self._store else mine, next_in_line=next_in_line)

        self._worker(call)
        self._compare_session(mine.session.id)

    @precondition(lambda self: self._leases)
    @rule(lease=PICK, through=st.integers(1, 4))
    def save_summary(self, lease: int, through: int) -> None:
        _, (mine, theirs) = self._lease(lease)
        summary = Summary(f"until {through}", through)

        def call(store: Store) -> Awaitable[Any]:
            return store.save_summary(theirs if store is self._store else mine, summary)

        self._worker(call)

    # Everybody's

    @rule(milliseconds=STEPS_MS)
    def wait(self, milliseconds: int) -> None:
        self._clock.now += milliseconds
        self._last = None

    @precondition(lambda self: self._last)
    @rule()
    def repeat(self) -> None:
        """As a caller does whose answer was lost."""
        assert self._last is not None
        call, brief = self._last
        self._both(call, brief=brief)

    @rule()
    def clean_up(self) -> None:
        for store in (self._reference, self._store):
            self._run(_awaited(store.clean_up()))

    @rule(session=PICK)
    def stranger(self, session: int) -> None:
        id_ = self._session(session).id
        for principal in (Principal("stranger", "tenant"), self._owner._replace(tenant="")):
            for call in (
                lambda store, who=principal: store.read_session(who, id_),
                lambda store, who=principal: store.read_history(who, id_, limit=3),
                lambda store, who=principal: store.delete_session(who, id_),
            ):
                assert isinstance(self._both(call), NotFound)

    @rule(session=PICK, limit=st.integers(1, 4), oldest_first=st.booleans(),
          state=st.sampled_from([None, None, TaskState.SUBMITTED, TaskState.COMPLETED]))  # fmt: skip
    def look(self, session: int, limit: int, oldest_first: bool, state: TaskState | None) -> None:
        id_ = self._session(session).id
        self._both(lambda store: _whole(
            lambda cursor: store.list_tasks(
                self._owner, id_, state=state, oldest_first=oldest_first, cursor=cursor, limit=limit
            )
        ))  # fmt: skip
        self._both(lambda store: store.read_history(self._owner, id_, limit=limit))
        self._both(lambda store: store.read_summary(self._owner, id_))
        self._both(lambda store: _whole(lambda cursor: store.list_sessions(self._owner, cursor=cursor, limit=limit)))

    def teardown(self) -> None:
        """All that anybody can read is the same in the end."""
        for session in self._sessions:
            self._compare_session(session.id)
            self._both(lambda store, id_=session.id: store.read_history(self._owner, id_, limit=1000))  # type: ignore[misc]
            self._both(lambda store, id_=session.id: store.list_tasks(self._owner, id_, limit=1000))  # type: ignore[misc]
        for task in self._tasks:
            self._compare_task(task.id)

    # How it is done

    def _claim(self, task: Task, lease: int, takeover: bool, nonce: str) -> None:
        taken: list[Lease] = []
        gave_back = self._log(task.id) and not self._is_open(task.id) and task.id not in self._committed
        if gave_back and not self._waits(task.id):
            return  # who has said something commits, is taken over, or waits again

        async def call(store: Store) -> Any:
            got = await store.claim(
                self._owner, task.session_id, task.id, lease=lease, nonce=nonce, takeover=takeover
            )  # fmt: skip
            taken.append(got)
            return got

        self._last = call, False
        if isinstance(self._both(call), Lease):
            self._leases.append((taken[0], taken[1]))
        self._compare_session(task.session_id)

    def _worker(self, call: Call) -> Any:
        self._last = call, True
        return self._both(call, brief=True)

    def _write(self, call: Call) -> Any:
        self._last = call, False
        return self._both(call)

    def _compare_session(self, session_id: str) -> None:
        self._both(lambda store: store.read_session(self._owner, session_id))

    def _compare_task(self, task_id: str) -> None:
        if isinstance(self._both(lambda store: store.read_task(self._owner, task_id)), Task):
            self._both(lambda store: store.read_events(self._owner, task_id, after=0))

    def _both(self, call: Call, *, brief: bool = False) -> Any:
        expected = self._run(_outcome(call(self._reference)))
        found = self._run(_outcome(call(self._store)))
        told = [_comparable(result, brief) for result in (expected, found)]
        assert told[0] == told[1], f"the reference: {told[0]}\nthis store:    {told[1]}"
        return expected

    def _tick(self) -> int:
        self._clock.now += 1
        return self._clock.now

    def _nonce(self) -> str:
        return secrets.token_hex(8)

    def _new_task(self, session: int) -> Task:
        of, now = self._session(session), self._tick()
        return Task(new_task_id(of.id, now), of.id, "agent", TaskState.SUBMITTED, said(f"at {now}"), now, now)

    def _session(self, pick: int) -> Session:
        return self._sessions[-1 - pick % len(self._sessions)]

    def _task(self, pick: int) -> Task:
        return self._tasks[-1 - pick % len(self._tasks)]

    def _lease(self, pick: int) -> tuple[int, tuple[Lease, Lease]]:
        index = pick % len(self._leases)
        return index, self._leases[index]

    def _log(self, task_id: str) -> list[Event]:
        records = self._reference.records.values()
        return next((record.logs[task_id] for record in records if task_id in record.logs), [])

    def _has_said(self, task_id: str) -> bool:
        return bool(self._log(task_id)) or task_id in self._committed

    def _has_ended(self, task_id: str) -> bool:
        records = self._reference.records.values()
        return any(record.tasks[task_id].state.terminal for record in records if task_id in record.tasks)

    def _is_open(self, task_id: str) -> bool:
        return any(record.open_task == task_id for record in self._reference.records.values())

    def _waits(self, task_id: str) -> bool:
        return any(task_id in record.waiting for record in self._reference.records.values())

    def _alive(self, session_id: str) -> bool:
        record = self._reference.records.get(session_id)
        return record is not None and record.session.expires_at > self._clock.now


def _ended(session: Session, turn: int) -> StagedTurn:
    at = session.created_at - 10 + turn
    answer = Message.of(Role.AGENT, "piece 1 ")
    task = Task(
        new_task_id(session.id, at), session.id, "agent", TaskState.COMPLETED, said("before"), at, at, answer,
        turn=turn, last_event=1,
    )  # fmt: skip
    return StagedTurn(task, pieces(1, 1))


async def _awaited(call: Awaitable[Any]) -> Any:
    return await call


async def _outcome(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except StoreUnavailable:
        raise
    except HectorError as error:
        return error


async def _whole(read: Callable[[str | None], Awaitable[Page[Any]]]) -> list[Any]:
    items: list[Any] = []
    cursor = None
    while True:
        page = await read(cursor)
        items += page.items
        if (cursor := page.next_cursor) is None:
            return items


def _comparable(result: Any, brief: bool) -> Any:
    match result:
        case SessionBusy():
            return type(result).__name__, result.task_id
        case LeaseLost() | TaskClosed() | NotFound() if brief:
            return "refused"  # a worker that may write nothing more may be told either
        case HectorError():
            return type(result).__name__, getattr(result, "task_id", None)
        case Lease() if brief:
            return result.task_id, result.fence, result.until, result.cancel_requested
    return result
