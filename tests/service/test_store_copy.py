"""A copy of a store is equal to it, between every two backends; and one that is broken off can be completed."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from typing import Any

import pytest

from hector.dialects.native import event_frame
from hector.errors import StoreUnavailable
from hector.follow import Follow
from hector.history import conversation
from hector.live import LiveLogs
from hector.model import (
    Event,
    EventKind,
    Message,
    Part,
    Principal,
    Role,
    Session,
    StopReason,
    Summary,
    Task,
    TaskError,
    TaskState,
    Usage,
    new_task_id,
)
from hector.recovery import Recovery
from hector.store_copy import Copied, StoreCopy
from hector.stores.base import Outcome, Store
from hector.stores.memory import MemoryStore
from hector.testing.bench import DONE, LEASE, Bench, nonce, pieces
from hector.transcript import messages
from tests.backends import PAIRS, FreshPlace, Place
from tests.support import ManualClock

MOST = 10


@pytest.fixture(params=PAIRS, ids="-to-".join)
def pair(request: pytest.FixtureRequest, fresh_place: FreshPlace) -> tuple[Place, Place]:
    return fresh_place(request.param[0]), fresh_place(request.param[1])


@pytest.fixture
def benches() -> tuple[Bench, Bench]:
    """Two memory stores under one clock."""
    one, other, clock = MemoryStore(ManualClock()), MemoryStore(ManualClock()), ManualClock()
    one._now = other._now = clock
    principal = Principal("alice", "tenant")
    return Bench(lambda _: one, clock, principal), Bench(lambda _: other, clock, principal)


async def everything(store: Store, clock: ManualClock) -> list[Any]:
    """All that anybody can read of a store. What waits slides on as it lines up: then without the times of that."""
    found: list[Any] = []
    cursor = None
    while True:
        page = await store.list_every_session(cursor=cursor, limit=2)
        found += [await _all_of(store, session, clock) for session in page.items]
        if (cursor := page.next_cursor) is None:
            return sorted(found, key=lambda entry: str(entry[0].id))


async def _all_of(store: Store, session: Session, clock: ManualClock) -> tuple[Any, ...]:
    principal = session.principal
    tasks = (await store.list_tasks(principal, session.id, limit=1000)).items
    live = LiveLogs()
    follow = Follow(store, live, Recovery(store, live, clock))
    logs = {
        task.id: "".join(
            [event_frame(task.id, event) async for batch in follow.events(principal, task) for event in batch]
        )
        for task in tasks
        if task.state.terminal
    }
    begun = [await store.read_events(principal, task_id, after=0) for task_id in session.waiting]
    history = await store.read_history(principal, session.id, limit=1000)
    said = await messages(store, principal, session.id, limit=1000)
    if session.waiting:
        session = replace(session, expires_at=0, last_activity_at=0)
    summary = await store.read_summary(principal, session.id)
    return session, tasks, logs, begun, history, conversation(history), said.items, summary


async def populate(bench: Bench) -> dict[str, Session]:
    """Sessions of several principals with everything that can be in one."""
    made = {}
    for tenant in ("tenant", ""):
        bench.principal = Principal(f"Zoë {secrets.token_hex(4)}", tenant)
        made[f"empty {tenant}"] = await bench.session(metadata={"ключ": [1, None, {"a": "ü"}]})
        made[f"long {tenant}"] = long = await bench.session(agent_id="other", max_age=10**9)
        for number in range(45 if tenant else 3):
            lease = await bench.claim(await bench.submitted(long, f"question {number} \u2028 😀"))
            lease = await bench.store.append_events(lease, pieces(1, number % 4), extend=LEASE)
            bench.clock.advance(seconds=1)
            ended = Outcome(
                TaskState.COMPLETED,
                number % 4,
                Message.of(Role.AGENT, f"answer {number}"),
                Usage(number, 2),
                stop_reason=StopReason.MAX_TOKENS if number == 1 else None,
            )
            await bench.ended(lease, ended)
        lease = await bench.claimed(long)
        await bench.store.save_summary(lease, Summary("About Zoë.", 2))
        await bench.ended(lease, Outcome(TaskState.FAILED, 0, error=TaskError("code", "What went wrong.")))
    await with_files(bench, long)
    made["large"] = await bench.session()
    lease = await bench.claim(await bench.submitted(made["large"], "x" * 190_000))
    for number in range(1, 40):
        lease = await bench.store.append_events(lease, [pieces(1, 1)[0]._replace(number=number, text="å" * 9000)],
                                                extend=LEASE)  # fmt: skip
    await bench.ended(lease, DONE._replace(last_event=39, output=Message.of(Role.AGENT, "å" * 70_000)))
    return made


async def handed_over(bench: Bench, session: Session, said_so_far: int) -> str:
    """A task that has begun, and waits for a worker that goes on with it."""
    lease = await bench.claimed(session)
    note = Event(said_so_far, EventKind.STATUS, "Another worker goes on.", TaskState.SUBMITTED)
    for number in range(1, said_so_far):
        lease = await bench.store.append_events(lease, pieces(number, number), extend=LEASE)
    lease = await bench.store.append_events(lease, [note], extend=LEASE)
    await bench.store.release(lease, next_in_line=True)
    return lease.task_id


async def with_files(bench: Bench, session: Session) -> None:
    parts = (Part("look"), Part(raw=bytes(range(256)), media_type="image/png", filename="a.png"),
             Part(url="https://example.com/x", media_type="application/pdf"))  # fmt: skip
    task = replace(bench.task(session), input=Message(Role.USER, parts))
    await bench.store.submit(task, nonce=nonce())
    await bench.ended(await bench.claim(task))


async def copied(source: Store, target: Store, clock: ManualClock, **options: Any) -> Copied:
    return await StoreCopy(source, target, clock=clock, **options).run()


async def test_a_copy_is_equal_between_every_two_backends(pair: tuple[Place, Place]) -> None:
    clock = ManualClock()
    async with Bench(pair[0].store, clock, Principal("nobody")) as bench:
        target = pair[1].store(clock)
        await target.set_up()
        made = await populate(bench)
        line = await bench.session()
        waiting = [await bench.submitted(line, f"message {number}") for number in range(4)]
        for task in (waiting[2], waiting[0], waiting[1], waiting[3]):
            await bench.store.line_up(bench.principal, task.id, most=MOST)
        await bench.store.request_cancel(bench.principal, waiting[1].id)
        await bench.ended(await bench.claim(waiting[2]))
        half = await bench.session()
        await bench.turn(half)
        begun = await handed_over(bench, half, 45)
        await bench.store.line_up(bench.principal, (await bench.submitted(half)).id, most=MOST)
        clock.advance(seconds=1)
        expected = await everything(bench.store, clock)
        assert len(expected) == len(made) + 2
        result = await copied(bench.store, target, clock)
        assert (result.sessions, result.waiting, result.whole) == (len(expected), 4, True)
        assert await everything(bench.store, clock) == expected, "the source is as it was"
        assert await everything(target, clock) == expected
        again = await copied(bench.store, target, clock)
        assert (again.sessions, again.waiting, again.there_already) == (0, 0, len(expected))
        assert await everything(target, clock) == expected

        # What was copied goes on.
        for task in (waiting[0], waiting[3]):
            lease = await target.claim(bench.principal, line.id, task.id, lease=LEASE, nonce=nonce())
            await target.commit(lease, DONE, nonce=nonce())
            await target.release(lease)
        assert [turn.turn for turn in await target.read_history(bench.principal, line.id, limit=9)] == [1, 2, 3]
        lease = await target.claim(bench.principal, half.id, begun, lease=LEASE, nonce=nonce())
        lease = await target.append_events(lease, pieces(46, 46), extend=LEASE)
        assert (await target.commit(lease, DONE._replace(last_event=46), nonce=nonce())).turn == 2
        await target.aclose()


WRITES = (
    "stage_turns", "create_session", "unstage", "submit", "line_up", "delete_session",
    "claim", "append_events", "release",
)  # fmt: skip


class Cut(MemoryStore):
    """Is away after so many calls of its methods that write."""

    left: float = float("inf")

    def __getattribute__(self, name: str) -> Any:
        method = super().__getattribute__(name)
        if name not in WRITES:
            return method

        async def counted(*arguments: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                raise StoreUnavailable("cut")
            return await method(*arguments, **options)

        return counted


async def test_a_copy_that_was_broken_off_anywhere_is_completed_by_the_next(benches: tuple[Bench, Bench]) -> None:
    bench, _ = benches
    await populate(bench)
    line = await bench.session()
    for _ in range(2):
        await bench.store.line_up(bench.principal, (await bench.submitted(line)).id, most=MOST)
    half = await bench.session()
    await handed_over(bench, half, 45)
    await bench.store.line_up(bench.principal, (await bench.submitted(half)).id, most=MOST)
    expected = await everything(bench.store, bench.clock)
    cuts = 0
    while True:
        target = Cut(bench.clock)
        target.left = cuts
        try:
            await copied(bench.store, target, bench.clock)
            break
        except StoreUnavailable:
            cuts += 1
        await asyncio.sleep(0)
        target.left = float("inf")
        for session, *rest in await everything(target, bench.clock):
            whole = next(entry for entry in expected if entry[0].id == session.id)
            assert session.turns == whole[0].turns, "nothing is visible by halves"
            if not whole[0].waiting:
                assert (session, *rest) == whole
        await copied(bench.store, target, bench.clock)
        assert await everything(target, bench.clock) == expected
    assert cuts > 20


async def test_what_is_running_stays_behind_is_named_and_comes_along_the_next_time(
    benches: tuple[Bench, Bench],
) -> None:
    bench, other = benches
    session = await bench.session()
    await bench.turn(session)
    lease = await bench.claimed(session)
    result = await copied(bench.store, other.store, bench.clock)
    assert (result.sessions, result.tasks, result.running, result.whole) == (1, 1, [lease.task_id], False)
    seen = await other.store.read_session(bench.principal, session.id)
    assert (seen.turns, seen.open_task_id) == (1, None)
    await bench.ended(lease)
    result = await copied(bench.store, other.store, bench.clock)
    assert (result.sessions, result.tasks, result.whole) == (1, 2, True)
    assert await everything(other.store, bench.clock) == await everything(bench.store, bench.clock)


async def test_a_turn_whose_worker_is_gone_is_ended_first(benches: tuple[Bench, Bench]) -> None:
    bench, other = benches
    session = await bench.session()
    lease = await bench.claimed(session)
    await bench.store.append_events(lease, pieces(1, 2), extend=LEASE)
    bench.clock.advance(seconds=LEASE / 1000)
    assert (await copied(bench.store, other.store, bench.clock)).whole
    (task,) = await other.store.read_history(bench.principal, session.id, limit=5)
    assert (task.error and task.error.code, task.last_event) == ("worker_lost", 2)
    assert await everything(other.store, bench.clock) == await everything(bench.store, bench.clock)


async def test_a_session_that_went_another_way_is_left_alone(benches: tuple[Bench, Bench]) -> None:
    bench, other = benches
    session = await bench.session()
    await bench.turn(session)
    await copied(bench.store, other.store, bench.clock)
    await other.turn(session)
    await bench.turn(session)
    before = await everything(other.store, bench.clock)
    result = await copied(bench.store, other.store, bench.clock)
    assert (result.diverged, result.whole) == ([session.id], False)
    assert await everything(other.store, bench.clock) == before


async def test_what_expires_or_ends_meanwhile_is_not_copied(benches: tuple[Bench, Bench]) -> None:
    bench, other = benches
    await bench.session(ttl=1000)
    lasting = await bench.session(ttl=100_000)
    bench.clock.advance(seconds=1)
    assert (await copied(bench.store, other.store, bench.clock)).sessions == 1
    assert [entry[0] for entry in await everything(other.store, bench.clock)] == [lasting]


async def test_it_tells_how_far_it_is(benches: tuple[Bench, Bench]) -> None:
    bench, other = benches
    for _ in range(20):
        await bench.turn(await bench.session())
    told: list[tuple[int, int]] = []
    await copied(
        bench.store, other.store, bench.clock, told=lambda so_far: told.append((so_far.sessions, so_far.tasks))
    )
    assert told == [(8, 8), (16, 16), (20, 20)]


async def test_what_is_handed_over_after_a_copy_goes_before_those_that_wait_there(benches: tuple[Bench, Bench]) -> None:
    bench, other = benches
    session = await bench.session()
    lease = await bench.claimed(session)
    await bench.store.line_up(bench.principal, (await bench.submitted(session)).id, most=MOST)
    result = await copied(bench.store, other.store, bench.clock)
    assert (result.running, result.waiting) == ([lease.task_id], 1)
    for first in (1, 3):  # twice: the second time with more in its log
        lease = await bench.store.append_events(lease, pieces(first, first + 1), extend=LEASE)
        await bench.store.release(lease, next_in_line=True)
        assert (await copied(bench.store, other.store, bench.clock)).whole
        assert await everything(other.store, bench.clock) == await everything(bench.store, bench.clock)
        lease = await bench.store.claim(bench.principal, session.id, lease.task_id, lease=LEASE, nonce=nonce())


@pytest.mark.parametrize("at_work", [False, True])
async def test_what_was_handed_over_and_is_gone_on_with_in_the_target_is_left_alone(
    benches: tuple[Bench, Bench], at_work: bool
) -> None:
    bench, other = benches
    session = await bench.session()
    task_id = await handed_over(bench, session, 2)
    await copied(bench.store, other.store, bench.clock)
    lease = await other.store.claim(other.principal, session.id, task_id, lease=LEASE, nonce=nonce())
    if not at_work:
        lease = await other.store.append_events(lease, pieces(3, 3), extend=LEASE)
        await other.store.release(lease, next_in_line=True)
    before = await everything(other.store, bench.clock)
    result = await copied(bench.store, other.store, bench.clock)
    assert (result.diverged, result.whole) == ([session.id], False)
    assert await everything(other.store, bench.clock) == before


class Forgetful(MemoryStore):
    """Loses some of what was staged, as a session is made of it."""

    loses = ""

    async def create_session(self, session: Session, **options: Any) -> Session:
        record = self.staged[session.id]
        match self.loses:
            case "a turn":
                del record.tasks[record.ended.pop(0)]
            case "the history":
                record.ended.clear()
            case "an event":
                record.logs[record.ended[1]].pop()
            case "the summary":
                record.summary = None
            case "everything":
                del self.staged[session.id]
        return await super().create_session(session, **options)


@pytest.mark.parametrize("loses", ["a turn", "the history", "an event", "the summary", "everything"])
async def test_what_did_not_arrive_whole_is_named_taken_back_and_copied_the_next_time(
    benches: tuple[Bench, Bench], loses: str
) -> None:
    bench, _ = benches
    session = await bench.session()
    for _ in range(25):
        lease = await bench.store.append_events(await bench.claimed(session), pieces(1, 2), extend=LEASE)
        await bench.store.save_summary(lease, Summary("So far.", 1))
        await bench.ended(lease, DONE._replace(last_event=2))
    target = Forgetful(bench.clock)
    target.loses = loses
    result = await copied(bench.store, target, bench.clock)
    assert (result.broken, result.sessions, result.tasks, result.whole) == ([session.id], 0, 0, False)
    assert await everything(target, bench.clock) == []
    target.loses = ""
    assert (await copied(bench.store, target, bench.clock)).whole
    assert await everything(target, bench.clock) == await everything(bench.store, bench.clock)


class Served(MemoryStore):
    """Somebody is at work in it, as soon as a session is there."""

    async def create_session(self, session: Session, **options: Any) -> Session:
        created = await super().create_session(session, **options)
        now = session.last_activity_at
        task = Task(new_task_id(session.id, now), session.id, session.agent_id, TaskState.SUBMITTED,
                    Message.of(Role.USER, "Hello"), now, now)  # fmt: skip
        await self.submit(task, nonce=nonce())
        lease = await self.claim(session.principal, session.id, task.id, lease=LEASE, nonce=nonce())
        await self.save_summary(lease, Summary("They said hello.", created.turns + 1))
        await self.commit(lease, DONE, nonce=nonce())
        await self.release(lease)
        return created


@pytest.mark.parametrize("loses", [False, True])
async def test_what_somebody_says_in_the_target_meanwhile_is_never_taken_back(
    benches: tuple[Bench, Bench], loses: bool
) -> None:
    bench, _ = benches
    session = await bench.session()
    for _ in range(25):
        await bench.turn(session)

    class Target(Served, Forgetful):
        loses = "a turn"

    target = Target(bench.clock) if loses else Served(bench.clock)
    result = await copied(bench.store, target, bench.clock)
    assert (result.broken, result.sessions) == (([session.id], 0) if loses else ([], 1))
    [newest] = await target.read_history(bench.principal, session.id, limit=1)
    assert newest.turn == 26


async def test_a_session_that_lacks_turns_in_the_source_is_named(benches: tuple[Bench, Bench]) -> None:
    bench, other = benches
    session, intact = [await bench.session() for _ in range(2)]
    for _ in range(3):
        await bench.turn(session)
        await bench.turn(intact)
    assert isinstance(bench.store, MemoryStore)
    record = bench.store.records[session.id]
    del record.tasks[record.ended.pop(1)]
    result = await copied(bench.store, other.store, bench.clock)
    assert (result.broken, result.sessions, result.whole) == ([session.id], 1, False)
    assert [entry[0].id for entry in await everything(other.store, bench.clock)] == [intact.id]
    assert isinstance(other.store, MemoryStore)
    assert not other.store.staged
