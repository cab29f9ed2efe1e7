"""A clock that is set, or a computer that slept: what runs here is not lost, whatever the clock says of its lease."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from hector.agents.base import Turn
from hector.errors import SessionBusy
from hector.log_writer import LEASE
from hector.model import TaskState, TurnPolicy
from hector.stores.memory import MemoryStore
from hector.sweep import Swept
from hector.turns import Asked
from tests.service.test_follow import elsewhere
from tests.support import ALICE, ManualClock, ask, events_of, new_session, said, services_with

JUMP = LEASE / 1000 + 5


async def silent(turn: Turn) -> AsyncIterator[str]:
    """Nothing but the clock makes its producer renew its lease."""
    await asyncio.sleep(float(turn.text))
    yield "done"


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others come before the producer looks at its lease."""
    monkeypatch.setattr("hector.producer.CANCEL_POLL_SECONDS", 60.0)


async def test_the_next_message_meets_a_busy_session(late: None) -> None:
    clock = ManualClock()
    services = services_with(MemoryStore(clock), agent=silent, clock=clock)
    session_id = await new_session(services)
    task = await services.turns.start(ALICE, session_id, said("1"))
    await asyncio.sleep(0.2)
    clock.advance(seconds=JUMP)
    with pytest.raises(SessionBusy) as busy:
        await services.turns.start(ALICE, session_id, said("0.1"))
    assert busy.value.task_id == task.id
    assert (await services.follow.ended(ALICE, task)).state is TaskState.COMPLETED


async def test_messages_wait_on_for_the_turn_before_them(late: None) -> None:
    clock = ManualClock()
    services = services_with(MemoryStore(clock), agent=silent, clock=clock)
    session_id = await new_session(services)
    waits = Asked(policy=TurnPolicy.ENQUEUE)
    first, second = [await services.turns.start(ALICE, session_id, said("1"), asked=waits) for _ in range(2)]
    await asyncio.sleep(0.2)
    clock.advance(seconds=JUMP)
    third = await services.turns.start(ALICE, session_id, said("1"), asked=waits)
    async with asyncio.timeout(5):
        for task in (first, second, third):
            assert (await services.follow.ended(ALICE, task)).state is TaskState.COMPLETED


async def test_a_sweep_leaves_it_alone(late: None) -> None:
    clock = ManualClock()
    services = services_with(MemoryStore(clock), agent=silent, clock=clock)
    task = await services.turns.start(ALICE, await new_session(services), said("1"))
    await asyncio.sleep(0.2)
    clock.advance(seconds=JUMP)
    assert await services.sweep.run() == Swept()
    assert (await services.follow.ended(ALICE, task)).state is TaskState.COMPLETED


@pytest.mark.parametrize("seconds", [JUMP, LEASE / 1000 - 3, -3600.0])
async def test_the_lease_is_renewed_at_once_by_the_clock_as_it_is_now(seconds: float) -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    services = services_with(store, agent=silent, clock=clock)
    session_id = await new_session(services)
    task = await services.turns.start(ALICE, session_id, said("60"))
    await asyncio.sleep(0.05)
    clock.advance(seconds=seconds)
    await asyncio.sleep(0.7)
    assert store.records[session_id].lease_until == clock.now + LEASE
    assert (await elsewhere(services).follow.task(ALICE, task.id)).state is TaskState.WORKING
    await services.turns.stop()


async def test_a_turn_that_another_process_found_lost_ends_here_too() -> None:
    clock = ManualClock()
    services = services_with(MemoryStore(clock), agent=silent, clock=clock)
    session_id = await new_session(services)
    task = await services.turns.start(ALICE, session_id, said("1"))
    reading = asyncio.create_task(events_of(services, task))
    await asyncio.sleep(0.25)
    clock.advance(seconds=JUMP)
    closed = await elsewhere(services).follow.task(ALICE, task.id)
    assert closed.error is not None
    assert closed.error.code == "worker_lost"
    assert (await reading)[-1].error == closed.error
    await services.turns.drain()
    assert (await ask(services, session_id, "0.1")).state is TaskState.COMPLETED


async def test_a_worker_that_gave_up_and_only_cleans_up_holds_nothing() -> None:
    async def lingering(turn: Turn) -> AsyncIterator[str]:
        try:
            await asyncio.sleep(float(turn.text))
            yield "done"
        except asyncio.CancelledError:
            await asyncio.sleep(2)
            raise

    clock = ManualClock()
    services = services_with(MemoryStore(clock), agent=lingering, clock=clock)
    session_id = await new_session(services)
    task = await services.turns.start(ALICE, session_id, said("60"))
    log = services.follow._live.get(task.id)
    assert log is not None
    await asyncio.sleep(0.05)
    clock.advance(seconds=JUMP)
    await services.store.claim(ALICE, session_id, task.id, lease=LEASE, nonce="another worker")
    await log.ended()
    clock.advance(seconds=JUMP)
    assert (await ask(services, session_id, "0.1")).state is TaskState.COMPLETED
    closed = await services.store.read_task(ALICE, task.id)
    assert closed.error is not None
    assert closed.error.code == "worker_lost"
    assert services.follow._live.get(task.id) is log, "it is still cleaning up"
    await services.turns.drain()
