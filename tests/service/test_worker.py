"""The work queue: turns that another process runs, once; lost ones begin again, or end; hand-overs at a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from hector.agents.base import Turn
from hector.errors import NotFound, QueueUnavailable, StoreUnavailable
from hector.line import ENOUGH_SECONDS
from hector.log_writer import LEASE
from hector.model import EventKind, Task, TaskState, TurnPolicy
from hector.patience import WAIT_TIMEOUT
from hector.services import Services
from hector.stores.base import Store
from hector.stores.log import seconds_taken
from hector.stores.memory import MemoryStore
from hector.turns import Asked
from tests.service.test_faults import die
from tests.service.test_follow import elsewhere
from tests.service.test_line import ENQUEUE, Gate
from tests.support import ALICE, ManualClock, events_of, new_session, said, services_with, wait_until

BACKGROUND = Asked(background=True)


class Queue:
    """A work queue in memory, which keeps what was sent, and delivers nothing by itself."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.delays: list[float] = []
        self.broken = False

    async def send(self, task_id: str, *, delay: float = 0.0) -> None:
        if self.broken:
            raise QueueUnavailable("the queue is away")
        self.sent.append(task_id)
        self.delays.append(delay)

    async def aclose(self) -> None:
        pass

    def take(self) -> str:
        """The oldest message; the others stay."""
        return self.sent.pop(0)


def process(
    store: Store, queue: Queue, answer: Any = None, clock: ManualClock | None = None, **served: Any
) -> Services:
    """One of several processes that share a store and a queue."""
    services = services_with(store, agent=answer, queue=queue, clock=clock)
    agents = {id_: replace(agent, **served) for id_, agent in services.agents.items()}
    services.turns._agents = agents
    return replace(services, agents=agents)


async def work(services: Services, task_id: str, *, seconds_left: float | None = None) -> None:
    assert services.worker is not None
    await services.worker.work(task_id, seconds_left=seconds_left)


async def posted(services: Services, session_id: str, text: str, asked: Asked = BACKGROUND) -> Task:
    return await services.turns.start(ALICE, session_id, said(text), asked=asked)


async def test_a_background_turn_is_sent_to_the_queue_and_run_by_a_worker(store: Store) -> None:
    queue = Queue()
    web, worker = process(store, queue), process(store, queue)
    session_id = await new_session(web)
    task = await posted(web, session_id, "count to 5")
    await web.turns.drain()
    assert queue.sent == [task.id]
    assert (await web.follow.task(ALICE, task.id)).state is TaskState.SUBMITTED
    following = asyncio.create_task(events_of(elsewhere(web), task))
    await work(worker, queue.take())
    events = await following
    assert [event.number for event in events] == list(range(1, 7))
    assert (await store.read_task(ALICE, task.id)).turn == 1
    assert queue.sent == []


async def test_every_record_three_times_is_one_model_call_per_task(store: Store) -> None:
    gate = Gate()
    queue = Queue()
    workers = [process(store, queue, gate.answer, max_waiting=10) for _ in range(3)]
    session_id = await new_session(workers[0])
    asked = Asked(policy=TurnPolicy.ENQUEUE, background=True)
    tasks = [await posted(workers[0], session_id, f"m{number}", asked) for number in range(3)]
    gate.open.set()
    deliveries = [task_id for task_id in queue.sent for _ in range(3)]
    queue.sent.clear()
    while deliveries:
        await asyncio.gather(*(work(workers[n % 3], task_id) for n, task_id in enumerate(deliveries)))
        deliveries, queue.sent = queue.sent, []
    assert gate.calls == ["m0", "m1", "m2"]
    for task in tasks:
        assert (await store.read_task(ALICE, task.id)).state is TaskState.COMPLETED


async def test_a_task_whose_session_is_busy_comes_back_and_is_no_failure(store: Store) -> None:
    gate = Gate()
    queue = Queue()
    services = process(store, queue, gate.answer)
    session_id = await new_session(services)
    running = await posted(services, session_id, "first", Asked())
    task = await posted(services, session_id, "second", Asked(policy=TurnPolicy.ENQUEUE, background=True))
    for _ in range(5):
        await work(services, queue.take())
        assert queue.sent == [task.id], "it is sent again, later"
        assert 1 <= queue.delays[-1] <= 10
    gate.open.set()
    await services.follow.ended(ALICE, running)
    await work(services, queue.take())
    assert gate.calls == ["first", "second"]


async def test_a_record_that_meets_a_live_lease_comes_back_after_it(store: Store) -> None:
    gate = Gate()
    queue = Queue()
    one, other = (process(store, queue, gate.answer) for _ in range(2))
    session_id = await new_session(one)
    task = await posted(one, session_id, "first")
    working = asyncio.create_task(work(one, queue.take()))
    await wait_until(lambda: bool(gate.calls))
    await work(other, task.id)
    assert queue.sent == [task.id]
    assert queue.delays[-1] > LEASE / 1000
    gate.open.set()
    await working
    await work(other, queue.take())
    assert gate.calls == ["first"]
    assert queue.sent == []


@pytest.mark.parametrize("found_by", ["queue", "reader", "sweep"])
async def test_a_worker_that_dies_before_its_first_event_is_followed_by_another_once(found_by: str) -> None:
    gate = Gate()
    queue = Queue()
    clock = ManualClock()
    store = MemoryStore(clock)
    dead, second, third = (process(store, queue, gate.answer, clock) for _ in range(3))
    session_id = await new_session(dead)
    task = await posted(dead, session_id, "first")
    asyncio.create_task(work(dead, queue.take()))  # noqa: RUF006
    await wait_until(lambda: bool(gate.calls))
    die(dead)
    clock.advance(seconds=LEASE / 1000)
    match found_by:
        case "queue":
            await work(second, task.id)
        case "reader":
            assert (await second.follow.task(ALICE, task.id)).state is TaskState.SUBMITTED
        case "sweep":
            await second.sweep.run()
    assert queue.take() == task.id
    assert (await store.read_session(ALICE, session_id)).waiting == (task.id,)
    if found_by == "sweep":
        gate.calls.clear()
        again = asyncio.create_task(work(second, task.id))
        await wait_until(lambda: bool(gate.calls))
        die(second)
        again.cancel()
        clock.advance(seconds=LEASE / 1000)
        await third.sweep.run()
        ended = await store.read_task(ALICE, task.id)
        assert ended.error is not None
        assert ended.error.code == "worker_lost", "it is not begun a third time"
        assert queue.sent == []
    else:
        gate.open.set()
        await work(second, task.id)
        events = await events_of(second, task)
        assert [event.number for event in events] == list(range(1, len(events) + 1))
        assert (events[0].state, events[0].kind) == (TaskState.SUBMITTED, EventKind.STATUS)
        ended = await store.read_task(ALICE, task.id)
        assert ended.output is not None
        assert ended.output.text == "answer to first"


async def test_a_worker_that_dies_in_mid_answer_is_followed_by_none() -> None:
    queue = Queue()
    clock = ManualClock()
    store = MemoryStore(clock)
    dead, alive = process(store, queue, clock=clock), process(store, queue, clock=clock)
    session_id = await new_session(dead)
    task = await posted(dead, session_id, "count to 1000 every 20 ms")
    asyncio.create_task(work(dead, queue.take()))  # noqa: RUF006
    await asyncio.sleep(0.5)
    die(dead)
    clock.advance(seconds=LEASE / 1000)
    await work(alive, task.id)
    ended = await store.read_task(ALICE, task.id)
    assert ended.error is not None
    assert ended.error.code == "worker_lost"
    assert ended.output is not None
    assert ended.output.text.startswith("1 2 3")
    assert queue.sent == []


async def test_records_of_what_is_not_there_are_done_with(store: Store) -> None:
    queue = Queue()
    services = process(store, queue)
    session_id = await new_session(services)
    ended = await services.follow.ended(ALICE, await posted(services, session_id, "hello", Asked()))
    erased = await posted(services, await new_session(services), "hello")
    await store.delete_session(ALICE, erased.session_id)
    queue.sent.clear()
    for body in (ended.id, erased.id, ended.id[:-1] + "x", "", "nonsense", "\x00", "a" * 10_000):
        await work(services, body)
    assert queue.sent == []


async def test_what_waited_for_too_long_is_not_run(store: Store) -> None:
    gate = Gate()
    queue = Queue()
    services = process(store, queue, gate.answer, max_wait=0.05)
    task = await posted(services, await new_session(services), "late")
    await asyncio.sleep(0.1)
    await work(services, queue.take())
    ended = await store.read_task(ALICE, task.id)
    assert ended.error is not None
    assert ended.error.code == WAIT_TIMEOUT
    assert gate.calls == []


async def test_a_queue_that_is_away_loses_nothing(store: Store) -> None:
    queue = Queue()
    services = process(store, queue)
    session_id = await new_session(services)
    queue.broken = True
    task = await posted(services, session_id, "count to 3")
    assert task.state is TaskState.SUBMITTED
    with pytest.raises(QueueUnavailable):
        await services.sweep.run()
    queue.broken = False
    await services.sweep.run()
    assert task.id in queue.sent
    await work(services, task.id)
    assert (await store.read_task(ALICE, task.id)).state is TaskState.COMPLETED


async def test_an_agent_that_a_worker_does_not_have_is_an_error_that_comes_again(store: Store) -> None:
    queue = Queue()
    services = process(store, queue)
    task = await posted(services, await new_session(services), "hello")
    services.turns._agents = {}
    with pytest.raises(NotFound, match="my_agent"):
        await work(services, task.id)
    assert (await store.read_task(ALICE, task.id)).state is TaskState.SUBMITTED


async def test_a_message_that_still_waits_when_its_process_has_to_go_is_left_to_the_queue(store: Store) -> None:
    gate = Gate()
    queue = Queue()
    services = process(store, queue, gate.answer)
    session_id = await new_session(services)
    first = await posted(services, session_id, "first", Asked())
    task = await posted(services, session_id, "second", ENQUEUE._replace(seconds_left=0.2))
    await wait_until(lambda: queue.sent == [task.id])
    gate.open.set()
    await services.follow.ended(ALICE, first)
    await work(services, queue.take())
    assert (await store.read_task(ALICE, task.id)).state is TaskState.COMPLETED


async def test_a_message_whose_turn_comes_as_its_process_has_to_go_begins_elsewhere(store: Store) -> None:
    gate = Gate()
    queue = Queue()
    services = process(store, queue, gate.answer)
    session_id = await new_session(services)
    first = await posted(services, session_id, "first", Asked())
    task = await posted(services, session_id, "second", ENQUEUE._replace(seconds_left=ENOUGH_SECONDS))
    gate.open.set()
    await services.follow.ended(ALICE, first)
    await wait_until(lambda: queue.sent == [task.id])
    await services.turns.drain()
    assert gate.calls == ["first"]
    await work(services, queue.take())
    assert gate.calls == ["first", "second"]
    assert (await store.read_task(ALICE, task.id)).state is TaskState.COMPLETED


async def test_at_its_process_end_a_turn_is_handed_over_and_gone_on_with(store: Store) -> None:
    queue = Queue()
    going, staying = (process(store, queue, hands_over=True) for _ in range(2))
    session_id = await new_session(going)
    task = await posted(going, session_id, "count to 30 every 50 ms", Asked(seconds_left=0.5))
    seen = await events_of_until_cut(going, task)
    assert queue.sent == [task.id]
    assert seen[-1].state is TaskState.SUBMITTED
    assert 1 < len(seen) < 30
    following = asyncio.create_task(events_of(elsewhere(staying), task, after=seen[-1].number))
    await work(staying, queue.take(), seconds_left=60)
    events = seen + await following
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    expected = " ".join(str(number) for number in range(1, 31))
    assert "".join(event.text for event in events if event.kind is EventKind.MESSAGE) == expected
    ended = await store.read_task(ALICE, task.id)
    assert ended.output is not None
    assert ended.output.text == expected
    assert ended.turn == 1


async def test_an_agent_sees_what_was_said_before_the_hand_over(store: Store) -> None:
    turns: list[Turn] = []

    async def answer(turn: Turn) -> AsyncIterator[str]:
        turns.append(turn)
        if not turn.so_far:
            yield "The first half, "
            await asyncio.sleep(60)
        yield "and the second."

    queue = Queue()
    services = process(store, queue, answer, hands_over=True, streams=False)
    task = await posted(services, await new_session(services), "tell me", Asked(seconds_left=0.3))
    await services.turns.drain()
    await work(services, queue.take())
    ended = await store.read_task(ALICE, task.id)
    assert ended.output is not None
    assert ended.output.text == "The first half, and the second."
    assert turns[1].so_far == "The first half, "
    assert [message.text for message in turns[1].shown[:2]] == ["tell me", "The first half, "]
    texts = [event.text for event in await events_of(services, task) if event.kind is EventKind.MESSAGE]
    assert texts == ["The first half, ", "and the second."]


@pytest.mark.parametrize("hands_over", [True, False])
async def test_without_a_queue_or_leave_a_turn_fails_at_its_process_end(hands_over: bool) -> None:
    services = services_with() if hands_over else process(MemoryStore(), Queue())
    agents = {id_: replace(agent, hands_over=hands_over) for id_, agent in services.agents.items()}
    services.turns._agents = agents
    session_id = await new_session(services)
    task = await posted(services, session_id, "be silent for 60 seconds", Asked(seconds_left=0.2))
    ended = await services.follow.ended(ALICE, task)
    assert ended.error is not None
    assert ended.error.code == "deadline"
    assert "on_deadline" in ended.error.message


@pytest.mark.parametrize("ends", [True, False])
async def test_a_reader_of_a_first_beginning_is_told_to_forget_it(ends: bool) -> None:
    """What it saw was never stored: of the turn that begins once more it gets everything."""
    calls: list[str] = []

    async def answer(turn: Turn) -> AsyncIterator[str]:
        calls.append("")
        letter = "AB"[len(calls) - 1]
        for number in range(3 if letter == "A" or not ends else 1):
            yield f"{letter}{number} "
        if letter == "A":
            await asyncio.sleep(60)

    clock = ManualClock()
    store, queue = MemoryStore(clock), Queue()
    dead, alive = (process(store, queue, answer, clock) for _ in range(2))
    task = await posted(dead, await new_session(dead), "hello", Asked())
    log = dead.follow._live.get(task.id)
    assert log is not None
    await wait_until(lambda: len(log.events) == 3)
    die(dead)
    assert not (await store.read_events(ALICE, task.id, after=0)).events, "it dies before its first flush"
    clock.advance(seconds=LEASE / 1000)
    before = asyncio.create_task(events_of(elsewhere(alive), task, after=3))
    await wait_until(lambda: bool(queue.sent))
    await work(alive, queue.take())
    after = asyncio.create_task(events_of(elsewhere(alive), await store.read_task(ALICE, task.id), after=3))
    whole = await events_of(alive, task)
    for reader in (before, after):
        reset, *events = await asyncio.wait_for(reader, 5)
        assert (reset.kind, reset.number) == (EventKind.RESET, 0)
        assert events == whole
    assert "".join(event.text for event in whole if event.kind is EventKind.MESSAGE) == ("B0 " if ends else "B0 B1 B2 ")


async def events_of_until_cut(services: Services, task: Task) -> list[Any]:
    """What a follower in the producer's process gets until the producer lets go of the task."""
    log = services.follow._live.get(task.id)
    assert log is not None
    await log.ended()
    await services.turns.drain()
    return list(log.events)


async def test_a_worker_whose_store_is_away_says_so(store: Store) -> None:
    queue = Queue()
    services = process(store, queue)
    task = await posted(services, await new_session(services), "hello")
    worker = services.worker
    assert worker is not None

    class Away:
        def __getattr__(self, name: str) -> Any:
            async def away(*_: Any, **__: Any) -> Any:
                raise StoreUnavailable("the store is away")

            return away

    worker._store = Away()
    with pytest.raises(StoreUnavailable):
        await worker.work(task.id)


async def test_all_processes_together_give_a_turn_its_time_once() -> None:
    turns: list[Turn] = []

    async def answer(turn: Turn) -> AsyncIterator[str]:
        turns.append(turn)
        while True:
            yield "x"
            await asyncio.sleep(0.05)

    store, queue = MemoryStore(), Queue()
    workers = [process(store, queue, answer, hands_over=True, timeout=2.0) for _ in range(4)]
    task = await posted(workers[0], await new_session(workers[0]), "for ever", Asked(seconds_left=0.8))
    await workers[0].turns.drain()
    loop, taken = asyncio.get_running_loop(), 0.8
    for worker in workers[1:]:
        if queue.sent:
            began_at = loop.time()
            await work(worker, queue.take(), seconds_left=0.8)
            taken += loop.time() - began_at
    ended = await store.read_task(ALICE, task.id)
    assert ended.error is not None
    assert ended.error.code == "timeout"
    assert "2 seconds" in ended.error.message
    assert len(turns) == 3
    assert 1.9 < taken < 3
    told = [event for event in await events_of(workers[0], task) if event.state is TaskState.SUBMITTED]
    assert 0.8 <= seconds_taken(told[:1]) < 1.6 <= seconds_taken(told) < 2
