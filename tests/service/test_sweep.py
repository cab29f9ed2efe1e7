"""The sweep goes on, whatever single sessions are like; and it does not feed a backlog."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hector.errors import StoreUnavailable
from hector.log_writer import LEASE
from hector.model import Task, TaskState
from hector.stores.memory import MemoryStore
from hector.sweep import ORPHANED_AFTER
from hector.turns import SEND_AGAIN_SECONDS, Asked
from tests.service.test_faults import die
from tests.service.test_follow import elsewhere
from tests.service.test_line import ENQUEUE, Gate, with_agent
from tests.service.test_races import KEY
from tests.service.test_worker import Queue, posted, process, work
from tests.support import ALICE, ManualClock, events_of, new_session, said, wait_until


@pytest.mark.parametrize("error", [StoreUnavailable("away"), ValueError("a row that nobody can read")])
async def test_a_session_that_cannot_be_looked_after_stops_nobody_elses(error: Exception) -> None:
    class Odd(MemoryStore):
        async def append_events(self, lease: Any, *arguments: Any, **options: Any) -> Any:
            if lease.task_id == poison:
                raise error
            return await super().append_events(lease, *arguments, **options)

        async def read_events(self, principal: Any, task_id: str, **options: Any) -> Any:
            if task_id == poison:
                raise error
            return await super().read_events(principal, task_id, **options)

    poison = ""
    clock, gate = ManualClock(), Gate()
    store = Odd(clock)
    dead, alive = (with_agent(store, gate.answer, clock=clock) for _ in range(2))
    lost = []
    for _ in range(25):
        lost.append(await dead.turns.start(ALICE, await new_session(dead), said("hello")))
    await wait_until(lambda: len(gate.calls) == 25)
    die(dead)
    clock.advance(seconds=LEASE / 1000)
    poison = lost[3].id
    with pytest.raises(type(error)):
        await alive.sweep.run()
    states = [(await store.read_task(ALICE, task.id)).state for task in lost if task.id != poison]
    assert set(states) == {TaskState.FAILED}
    poison = ""
    clock.advance(seconds=LEASE / 1000)
    await alive.sweep.run()
    assert (await store.read_task(ALICE, lost[3].id)).state is TaskState.FAILED


async def test_sweeping_goes_on_after_an_error_that_nobody_expected() -> None:
    class Odd(MemoryStore):
        sweeps = 0

        async def list_unfinished(self, **options: Any) -> Any:
            self.sweeps += 1
            if self.sweeps == 1:
                raise ValueError("a row that nobody can read")
            return await super().list_unfinished(**options)

    store = Odd()
    sweeping = asyncio.create_task(with_agent(store, Gate().answer).sweep.for_ever(0.02))
    await wait_until(lambda: store.sweeps > 2)
    sweeping.cancel()


async def test_a_sweep_ends_with_its_time_and_leaves_the_rest_to_the_next() -> None:
    class Slow(MemoryStore):
        pages = 0

        async def list_unfinished(self, **options: Any) -> Any:
            self.pages += 1
            await asyncio.sleep(0.05)
            return await super().list_unfinished(cursor=options["cursor"], limit=1)

    clock = ManualClock()
    store = Slow(clock)
    dead, alive = (with_agent(store, Gate().answer, clock=clock) for _ in range(2))
    for _ in range(20):
        await dead.turns.start(ALICE, await new_session(dead), said("hello"))
    await asyncio.sleep(0.05)
    die(dead)
    clock.advance(seconds=LEASE / 1000)
    assert 1 <= (await alive.sweep.run(seconds_left=0.2)).closed < 20
    assert store.pages < 20


async def test_what_waits_for_an_agent_that_is_gone_ends_in_time() -> None:
    clock = ManualClock()
    memory = MemoryStore(clock)
    gate = Gate()
    before, after = (with_agent(memory, gate.answer, clock=clock) for _ in range(2))
    session_id = await new_session(before, ttl=10 * ORPHANED_AFTER)
    first = await before.turns.start(ALICE, session_id, said("first"))
    waiting = await before.turns.start(ALICE, session_id, said("second"), asked=ENQUEUE)
    die(before)
    after.turns._agents = {}
    clock.advance(seconds=LEASE / 1000)
    await after.sweep.run()
    assert (await memory.read_task(ALICE, first.id)).state is TaskState.FAILED
    assert (await memory.read_task(ALICE, waiting.id)).state is TaskState.SUBMITTED, "another server may have it"
    clock.advance(seconds=ORPHANED_AFTER / 1000)
    await after.sweep.run()
    (terminal,) = await events_of(elsewhere(after), waiting)
    assert terminal.error is not None
    assert terminal.error.code == "agent_gone"
    assert (await memory.read_session(ALICE, session_id)).waiting == ()


async def test_sweeps_send_what_waits_to_the_queue_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    store, queue = MemoryStore(), Queue()
    services = process(store, queue)
    tasks = [await posted(services, await new_session(services), "hello") for _ in range(5)]
    queue.sent.clear()
    for _ in range(10):
        await services.sweep.run()
    assert sorted(queue.sent) == sorted(task.id for task in tasks), "no backlog grows by being swept"
    monkeypatch.setattr("hector.turns.SEND_AGAIN_SECONDS", -SEND_AGAIN_SECONDS)
    await services.sweep.run()
    assert len(queue.sent) == 10
    for task_id in queue.sent:
        await work(services, task_id)


async def test_what_was_asked_for_in_the_background_has_no_client_that_could_leave() -> None:
    services = with_agent(MemoryStore(), Gate().answer, cancels_on_disconnect=True)
    session_id = await new_session(services)
    task = await services.turns.start(ALICE, session_id, said("pay"), asked=Asked(KEY, background=True))
    await asyncio.sleep(0.2)
    again = await services.turns.start(ALICE, session_id, said("pay"), asked=Asked(KEY))
    assert again.id == task.id
    services.turns.abandon(ALICE, again)
    await asyncio.sleep(1)
    assert not (await services.store.read_task(ALICE, task.id)).state.terminal


async def test_who_attaches_through_another_server_cancels_nothing_by_leaving() -> None:
    store = MemoryStore()
    running, other = (with_agent(store, Gate().answer, cancels_on_disconnect=True) for _ in range(2))
    session_id = await new_session(running)
    task: Task = await running.turns.start(ALICE, session_id, said("pay"), asked=Asked(KEY))
    attached = await other.turns.start(ALICE, session_id, said("pay"), asked=Asked(KEY))
    assert attached.id == task.id
    other.turns.abandon(ALICE, attached)
    await asyncio.sleep(1)
    assert (await store.read_task(ALICE, task.id)).state is TaskState.WORKING
    running.turns.abandon(ALICE, task)
    async with asyncio.timeout(5):
        assert (await running.follow.ended(ALICE, task)).state is TaskState.CANCELED
