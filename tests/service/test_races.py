"""What comes in between: hand-overs, replayed keys, cancels, sweeps and stops that meet halfway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from hector.agents.base import Turn
from hector.errors import LineFull, QueueUnavailable, StoreUnavailable
from hector.line import GRACE_SECONDS
from hector.log_writer import LEASE
from hector.model import EventKind, Task, TaskState, TurnPolicy
from hector.services import Services
from hector.stores.base import Idempotency, Store
from hector.stores.memory import MemoryStore
from hector.turns import PLAINLY, Asked
from tests.service.test_faults import die
from tests.service.test_follow import elsewhere
from tests.service.test_line import ENQUEUE, INTERRUPT, Gate, with_agent
from tests.service.test_worker import BACKGROUND, Queue, posted, process, work
from tests.support import ALICE, ManualClock, ask, events_of, new_session, said, services_with, wait_until

KEY = Idempotency("key", "body")
SOON = 0.25


async def halves(turn: Turn) -> AsyncIterator[str]:
    """Half an answer, and the other half for whoever takes over."""
    if not turn.so_far:
        yield "The first half, "
        await asyncio.sleep(60)
    yield "and the second."


async def handed_over(services: Services, session_id: str, asked: Asked = PLAINLY) -> Task:
    """A task whose process had to go in the middle of its answer; it waits in the line, and in the queue."""
    task = await posted(services, session_id, "tell me", asked._replace(seconds_left=SOON))
    await services.turns.drain()
    assert (await services.store.read_session(ALICE, session_id)).waiting == (task.id,)
    return task


def assert_whole(events: list[Any], text: str) -> None:
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    assert "".join(event.text for event in events if event.kind is EventKind.MESSAGE) == text
    assert events[-1].state is TaskState.COMPLETED


@pytest.mark.parametrize("policy", [TurnPolicy.REJECT, TurnPolicy.ENQUEUE])
async def test_a_key_that_meets_its_handed_over_turn_goes_on_with_it(policy: TurnPolicy) -> None:
    services = process(MemoryStore(), Queue(), halves, hands_over=True, policy=policy)
    session_id = await new_session(services)
    task = await handed_over(services, session_id, Asked(KEY))
    before = (await services.store.read_events(ALICE, task.id, after=0)).events
    again = await posted(services, session_id, "tell me", Asked(KEY))
    assert again.id == task.id
    events = await events_of(services, again)
    assert events[: len(before)] == before, "what was told stays told"
    assert_whole(events, "The first half, and the second.")
    assert await events_of(elsewhere(services), task) == events


async def test_a_handed_over_turn_is_not_given_up_because_it_is_old() -> None:
    clock = ManualClock()
    services = process(MemoryStore(clock), Queue(), halves, clock, hands_over=True, policy=TurnPolicy.ENQUEUE)
    session_id = await new_session(services)
    task = await handed_over(services, session_id, Asked(KEY))
    clock.advance(seconds=1000)
    await posted(services, session_id, "tell me", Asked(KEY))
    assert_whole(await events_of(services, task), "The first half, and the second.")


async def test_a_handed_over_turn_keeps_its_place_before_those_that_wait(store: Store) -> None:
    shown: list[list[str]] = []

    async def answer(turn: Turn) -> AsyncIterator[str]:
        shown.append([message.text for message in turn.history])
        async for piece in halves(turn):
            yield piece

    queue = Queue()
    services = process(store, queue, answer, hands_over=True)
    session_id = await new_session(services)
    first = await posted(services, session_id, "first", Asked(seconds_left=1.0))
    second = await posted(services, session_id, "second", BACKGROUND._replace(policy=TurnPolicy.ENQUEUE))
    await services.turns.drain()
    assert (await store.read_session(ALICE, session_id)).waiting == (first.id, second.id)
    assert queue.sent == [second.id, first.id]
    await work(services, queue.take())
    assert (await store.read_task(ALICE, second.id)).state is TaskState.SUBMITTED, "it is not its turn"
    await work(services, queue.take())
    assert_whole(await events_of(services, first), "The first half, and the second.")
    await work(services, queue.take(), seconds_left=SOON)
    assert shown[-1] == ["first", "The first half, and the second."]


async def test_a_handed_over_turn_that_is_canceled_keeps_what_it_said() -> None:
    services = process(MemoryStore(), Queue(), halves, hands_over=True)
    session_id = await new_session(services)
    task = await handed_over(services, session_id)
    told = (await services.store.read_events(ALICE, task.id, after=0)).events
    canceled = await services.turns.cancel(ALICE, task.id)
    assert canceled.state is TaskState.CANCELED
    assert canceled.output is not None
    assert canceled.output.text == "The first half, "
    events = await events_of(services, task)
    assert events[:-1] == told
    assert events[-1].number == len(told) + 1
    assert await events_of(services, task, after=len(told)) == events[-1:]
    assert (await services.store.read_session(ALICE, session_id)).waiting == ()


async def test_a_cancel_that_meets_a_hand_over_ends_the_turn_with_what_it_said() -> None:
    class Meeting(MemoryStore):
        """Hands the turn over between a cancel's look at it and its mark."""

        meets = False

        async def request_cancel(self, *arguments: Any) -> Task:
            if self.meets:
                self.meets = False
                await asyncio.sleep(SOON * 2)
            return await super().request_cancel(*arguments)

    store = Meeting()
    services = process(store, Queue(), halves, hands_over=True)
    session_id = await new_session(services)
    task = await posted(services, session_id, "tell me", Asked(seconds_left=SOON))
    store.meets = True
    canceled = await services.turns.cancel(ALICE, task.id)
    assert canceled.state is TaskState.CANCELED
    assert canceled.output is not None
    assert canceled.output.text == "The first half, "
    events = await events_of(elsewhere(services), task)
    assert [event.number for event in events] == list(range(1, canceled.last_event + 2))
    assert await events_of(elsewhere(services), task, after=1) == events[1:]
    assert (await store.read_session(ALICE, session_id)).waiting == ()


async def test_a_hand_over_whose_answer_was_lost_ends_nothing() -> None:
    class Lost(MemoryStore):
        lost = False

        async def release(self, lease: Any, **options: Any) -> None:
            await super().release(lease, **options)
            if options and not self.lost:
                self.lost = queue.broken = True
                raise StoreUnavailable("the answer was lost")

    store, queue = Lost(), Queue()
    services = process(store, queue, halves, hands_over=True)
    task = await handed_over(services, await new_session(services))
    assert store.lost
    queue.broken = False
    await work(services, queue.take())
    assert_whole(await events_of(services, task), "The first half, and the second.")


async def test_a_message_that_interrupts_in_the_moment_of_a_hand_over_cancels_the_turn() -> None:
    class Interrupted(MemoryStore):
        interrupting: asyncio.Task[Task] | None = None

        async def append_events(self, lease: Any, events: Any, **options: Any) -> Any:
            if any(event.state is TaskState.SUBMITTED for event in events) and self.interrupting is None:
                starting = services.turns.start(ALICE, session_id, said("now"), asked=INTERRUPT)
                self.interrupting = asyncio.create_task(starting)
                await asyncio.sleep(0.01)
            return await super().append_events(lease, events, **options)

    store = Interrupted()
    services = process(store, Queue(), halves, hands_over=True)
    session_id = await new_session(services)
    task = await posted(services, session_id, "tell me", Asked(seconds_left=SOON))
    ended = await services.follow.ended(ALICE, task)
    assert ended.state is TaskState.CANCELED
    await services.turns.cancel(ALICE, store.interrupting.result().id)  # type: ignore[union-attr]
    await services.turns.drain()


async def test_a_turn_that_can_neither_end_nor_be_handed_over_fails_at_its_deadline() -> None:
    queue = Queue()
    queue.broken = True
    services = process(MemoryStore(), queue, halves, hands_over=True)
    session_id = await new_session(services)
    task = await posted(services, session_id, "tell me", Asked(seconds_left=SOON))
    ended = await asyncio.wait_for(services.follow.ended(ALICE, task), 5)
    assert ended.error is not None
    assert ended.error.code == "deadline"
    assert (await services.store.read_session(ALICE, session_id)).open_task_id is None


async def test_a_silent_agent_is_not_handed_round_for_ever() -> None:
    queue = Queue()
    services = process(MemoryStore(), queue, Gate().answer, hands_over=True)
    task = await handed_over(services, await new_session(services))
    await work(services, queue.take(), seconds_left=SOON)
    ended = await services.store.read_task(ALICE, task.id)
    assert ended.error is not None
    assert ended.error.code == "deadline"
    assert queue.sent == []


@pytest.mark.parametrize("step", ["append_events", "release"])
@pytest.mark.parametrize("took_effect", [False, True])
async def test_a_hand_over_is_patient_with_a_store_that_is_away_for_a_moment(step: str, took_effect: bool) -> None:
    class Away(MemoryStore):
        calls = 0

        async def append_events(self, lease: Any, events: Any, **options: Any) -> Any:
            is_last = any(event.state is TaskState.SUBMITTED for event in events)
            call = super().append_events(lease, events, **options)
            return await (self.lose(call) if step == "append_events" and is_last else call)

        async def release(self, lease: Any, **options: Any) -> None:
            call = super().release(lease, **options)
            await (self.lose(call) if step == "release" and options else call)

        async def lose(self, call: Any) -> Any:
            self.calls += 1
            if self.calls > 1:
                return await call
            if took_effect:
                await call
            else:
                call.close()
            raise StoreUnavailable("away for a moment")

    store, queue = Away(), Queue()
    services = process(store, queue, halves, hands_over=True)
    task = await handed_over(services, await new_session(services))
    assert store.calls == 2
    assert set(queue.sent) == {task.id}
    await work(services, queue.take())
    assert_whole(await events_of(services, task), "The first half, and the second.")


async def test_a_worker_that_comes_in_the_moment_of_a_hand_over_goes_on_with_the_turn() -> None:
    class Late(MemoryStore):
        """Its first reader is told what was so a moment before."""

        late: Task | None = None

        async def read_task(self, *arguments: Any) -> Any:
            late, self.late = self.late, None
            return late or await super().read_task(*arguments)

    store, queue = Late(), Queue()
    services = process(store, queue, halves, hands_over=True)
    task = await handed_over(services, await new_session(services))
    store.late = replace(task, state=TaskState.WORKING)
    await work(services, queue.take())
    assert_whole(await events_of(services, task), "The first half, and the second.")


@pytest.mark.parametrize("what", ["ended", "gone"])
async def test_a_worker_takes_what_has_ended_or_is_gone_out_of_the_line(what: str) -> None:
    queue = Queue()
    store = MemoryStore()
    services = process(store, queue)
    session_id = await new_session(services)
    task = await ask(services, session_id, "hello")
    store.records[session_id].waiting.append(task.id)  # as a crash between two writes leaves it
    if what == "gone":
        del store.records[session_id].tasks[task.id]
        store.records[session_id].ended.clear()
    await services.sweep.run()
    await work(services, queue.take())
    assert (await store.read_session(ALICE, session_id)).waiting == ()
    assert (await ask(services, session_id, "go on")).state is TaskState.COMPLETED


async def test_a_lost_turn_that_cannot_be_begun_again_fails() -> None:
    clock, gate = ManualClock(), Gate()
    store, queue = MemoryStore(clock), Queue()
    dead, alive = (process(store, queue, gate.answer, clock) for _ in range(2))
    task = await posted(dead, await new_session(dead), "hello", Asked())
    await wait_until(lambda: bool(gate.calls))
    die(dead)
    clock.advance(seconds=LEASE / 1000)
    queue.broken = True
    events = await events_of(elsewhere(alive), task)
    assert events[-1].error is not None
    assert events[-1].error.code == "worker_lost"
    assert [event.number for event in events] == list(range(1, len(events) + 1))


async def test_a_sweep_without_its_queue_still_ends_what_was_lost() -> None:
    clock, gate = ManualClock(), Gate()
    store, queue = MemoryStore(clock), Queue()
    dead, alive = (process(store, queue, gate.answer, clock) for _ in range(2))
    queue.broken = True
    waiting, lost = sorted([await new_session(dead), await new_session(dead)])
    await posted(dead, waiting, "waits")
    task = await posted(dead, lost, "is lost", Asked())
    await wait_until(lambda: bool(gate.calls))
    die(dead)
    clock.advance(seconds=LEASE / 1000)
    with pytest.raises(QueueUnavailable):
        await alive.sweep.run()
    assert (await store.read_task(ALICE, task.id)).state is TaskState.FAILED


async def test_a_go_on_that_fails_leaves_no_live_log_to_wait_for() -> None:
    class Away(MemoryStore):
        away = False

        async def read_history(self, *arguments: Any, **options: Any) -> Any:
            if self.away:
                raise StoreUnavailable("the store is away")
            return await super().read_history(*arguments, **options)

    clock = ManualClock()
    store, queue = Away(clock), Queue()
    services = process(store, queue, clock=clock)
    session_id = await new_session(services)
    await ask(services, session_id, "hello")
    task = await posted(services, session_id, "again")
    store.away = True
    with pytest.raises(StoreUnavailable):
        await work(services, queue.take())
    store.away = False
    following = asyncio.create_task(events_of(services, task))
    await asyncio.sleep(0.1)
    clock.advance(seconds=LEASE / 1000)
    await wait_until(lambda: bool(queue.sent))
    await work(services, queue.take())
    events = await asyncio.wait_for(following, 5)
    assert events[-1].state is TaskState.COMPLETED


async def test_what_another_request_with_the_key_has_lined_up_is_not_taken_back() -> None:
    class Slow(MemoryStore):
        """The first refusal reaches its caller after another request has found a place."""

        met: Any = None

        async def line_up(self, *arguments: Any, **options: Any) -> Any:
            try:
                return await super().line_up(*arguments, **options)
            except LineFull:
                if self.met is None:
                    self.met = self.records[session_id].waiting.pop()
                    other.append(await services.turns.start(ALICE, session_id, said("pay"), asked=asked))
                raise

    gate = Gate()
    other: list[Task] = []
    store = Slow()
    services = with_agent(store, gate.answer, max_waiting=1)
    session_id = await new_session(services)
    asked = Asked(KEY, TurnPolicy.ENQUEUE, background=True)
    await services.turns.start(ALICE, session_id, said("first"))
    await services.turns.start(ALICE, session_id, said("second"), asked=ENQUEUE)
    with pytest.raises(LineFull):
        await services.turns.start(ALICE, session_id, said("pay"), asked=asked)
    gate.open.set()
    [acknowledged] = other
    ended = await asyncio.wait_for(services.follow.ended(ALICE, acknowledged), 5)
    assert ended.output is not None
    assert ended.output.text == "answer to pay"
    await services.turns.drain()


async def test_a_process_that_has_to_go_leaves_the_tasks_of_others_to_the_queue() -> None:
    gate = Gate()
    store, queue = MemoryStore(), Queue()
    services = process(store, queue, gate.answer)
    session_id = await new_session(services)
    other = await posted(services, session_id, "for a worker")
    mine = await posted(services, session_id, "mine", ENQUEUE._replace(seconds_left=GRACE_SECONDS + 1))
    queue.sent.clear()
    await asyncio.wait_for(services.turns.drain(), GRACE_SECONDS + 10)
    assert gate.calls == []
    assert queue.sent == [other.id, mine.id]


async def test_without_a_queue_the_tasks_of_others_are_run_for_as_long_as_the_process_may() -> None:
    store, gate = MemoryStore(), Gate()
    dead, services = (with_agent(store, gate.answer) for _ in range(2))
    session_id = await new_session(dead)
    other = await dead.turns.start(ALICE, session_id, said("other"), asked=BACKGROUND)
    die(dead)
    await services.turns.start(ALICE, session_id, said("mine"), asked=ENQUEUE._replace(seconds_left=GRACE_SECONDS + 1))
    async with asyncio.timeout(GRACE_SECONDS + 10):
        await services.turns.drain()
    ended = await store.read_task(ALICE, other.id)
    assert ended.error is not None
    assert ended.error.code == "deadline"


@pytest.mark.parametrize("away", ["queue", "store"])
async def test_a_process_that_has_to_go_does_not_wait_for_what_is_away(away: str) -> None:
    class Away(MemoryStore):
        away = False

        async def read_session(self, *arguments: Any) -> Any:
            if self.away:
                raise StoreUnavailable("the store is away")
            return await super().read_session(*arguments)

    gate = Gate()
    store, queue = Away(), Queue()
    running, services = (process(store, queue, gate.answer) for _ in range(2))
    session_id = await new_session(services)
    await posted(running, session_id, "first", Asked())
    task = await posted(services, session_id, "second", ENQUEUE._replace(seconds_left=SOON))
    store.away, queue.broken = away == "store", away == "queue"
    await asyncio.wait_for(services.turns.drain(), 5)
    store.away = False
    assert (await store.read_session(ALICE, session_id)).waiting == (task.id,), "a sweep finds it"
    gate.open.set()
    await running.turns.drain()


async def test_a_server_that_stops_as_a_turn_begins_does_not_lose_it() -> None:
    class Slow(MemoryStore):
        async def read_task(self, principal: Any, task_id: str) -> Any:
            if task_id == self.records[session_id].open_task and gate.open.is_set() and not stopping:
                stopping.append(asyncio.create_task(services.turns.stop(5)))
                await asyncio.sleep(0.1)
            return await super().read_task(principal, task_id)

    gate = Gate()
    stopping: list[asyncio.Task[None]] = []
    store = Slow()
    services = with_agent(store, gate.answer)
    session_id = await new_session(services)
    await services.turns.start(ALICE, session_id, said("first"))
    task = await services.turns.start(ALICE, session_id, said("second"), asked=ENQUEUE)
    gate.open.set()
    await wait_until(lambda: bool(stopping))
    await stopping[0]
    assert (await store.read_task(ALICE, task.id)).state is TaskState.COMPLETED


async def test_who_has_joined_a_task_that_then_cannot_be_begun_is_told_so() -> None:
    class Away(MemoryStore):
        joined = asyncio.Event()

        async def read_task(self, *arguments: Any, **options: Any) -> Any:
            if not self.joined.is_set():
                await self.joined.wait()
                raise StoreUnavailable("the store is away")
            return await super().read_task(*arguments, **options)

    store = Away()
    services, other = process(store, Queue()), process(store, Queue())
    session_id = await new_session(services)
    beginning = asyncio.create_task(posted(services, session_id, "hello", Asked(KEY)))
    await asyncio.sleep(0.01)
    task = await posted(other, session_id, "hello", Asked(KEY))
    following = asyncio.create_task(events_of(other, task))
    await asyncio.sleep(0.01)
    store.joined.set()
    with pytest.raises(StoreUnavailable):
        await beginning
    (terminal,) = await asyncio.wait_for(following, 5)
    assert terminal.state is TaskState.FAILED
    assert terminal.error is not None
    assert terminal.error.code == "not_begun"
    assert (await ask(services, session_id, "hello")).state is TaskState.COMPLETED


async def test_of_several_clients_with_one_key_only_the_last_that_leaves_cancels() -> None:
    services = with_agent(MemoryStore(), Gate().answer, cancels_on_disconnect=True)
    session_id = await new_session(services)
    task = await services.turns.start(ALICE, session_id, said("pay"), asked=Asked(KEY))
    again = await services.turns.start(ALICE, session_id, said("pay"), asked=Asked(KEY))
    services.turns.abandon(ALICE, task)
    await asyncio.sleep(1)
    assert (await services.store.read_task(ALICE, task.id)).state is TaskState.WORKING
    services.turns.abandon(ALICE, again)
    async with asyncio.timeout(5):
        assert (await services.follow.ended(ALICE, task)).state is TaskState.CANCELED


async def test_a_drain_waits_for_the_cancel_of_a_client_that_has_left() -> None:
    class Slow(MemoryStore):
        async def request_cancel(self, *arguments: Any) -> Any:
            await asyncio.sleep(0.3)
            return await super().request_cancel(*arguments)

    services = with_agent(Slow(), Gate().answer, cancels_on_disconnect=True)
    task = await services.turns.start(ALICE, await new_session(services), said("hello"))
    services.turns.abandon(ALICE, task)
    await services.turns.stop()
    assert services.turns._canceling == set()


async def test_a_task_that_ended_before_its_replay_lines_up_stays_out_of_the_line() -> None:
    class Slow(MemoryStore):
        async def line_up(self, principal: Any, task_id: str, **options: Any) -> Any:
            if task_id == first.id:
                await services.follow.ended(ALICE, first)
            return await super().line_up(principal, task_id, **options)

    gate = Gate()
    store = Slow()
    services = with_agent(store, gate.answer)
    session_id = await new_session(services)
    first = await services.turns.start(ALICE, session_id, said("pay"), asked=Asked(KEY))
    asyncio.get_running_loop().call_later(0.1, gate.open.set)
    again = await services.turns.start(ALICE, session_id, said("pay"), asked=Asked(KEY, background=True))
    assert again.id == first.id
    assert (await store.read_session(ALICE, session_id)).waiting == ()
    await services.turns.drain()
    assert gate.calls == ["pay"]


async def test_services_without_a_queue_fail_what_was_handed_over_to_nobody() -> None:
    """A store that has had a queue, and has none any more."""
    clock = ManualClock()
    store = MemoryStore(clock)
    going = process(store, Queue(), halves, clock, hands_over=True)
    session_id = await new_session(going)
    task = await handed_over(going, session_id)
    store.records[session_id].waiting.clear()
    clock.advance(seconds=LEASE / 1000)
    plain = services_with(store, clock=clock)
    ended = await plain.follow.task(ALICE, task.id)
    assert ended.error is not None
    assert ended.error.code == "worker_lost"
    assert ended.last_event == 2
