"""The engine is killed and started again in the middle of things."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from hector.agents.base import Turn
from hector.errors import LeaseLost, NotFound
from hector.log_writer import LEASE as PRODUCER_LEASE
from hector.model import Event, EventKind, TaskState
from hector.stores.redis import RedisStore
from hector.testing.bench import LEASE, Bench, pieces
from tests import redis_server
from tests.contract.redis.engine import Engine
from tests.support import ALICE, ManualClock, ask, events_of, new_session, said, services_with


@pytest.fixture
def server() -> Iterator[redis_server.Server]:
    with redis_server.running() as ready:
        yield ready


@pytest.fixture
async def stores(server: redis_server.Server) -> AsyncIterator[tuple[RedisStore, RedisStore]]:
    pair = RedisStore(server.url), RedisStore(server.url)
    yield pair
    for store in pair:
        await store.aclose()


async def restart(server: redis_server.Server) -> None:
    server.kill()
    await asyncio.sleep(0.5)
    await asyncio.to_thread(server.start)


async def test_producer_and_follower_survive_it(
    server: redis_server.Server, stores: tuple[RedisStore, RedisStore]
) -> None:
    ours, theirs = (services_with(store) for store in stores)
    session_id = await new_session(ours)
    task = await ours.turns.start(ALICE, session_id, said("count to 100 every 30 ms"))
    following = asyncio.create_task(events_of(theirs, task))
    for _ in range(2):
        await asyncio.sleep(0.6)
        await restart(server)
    followed = await following
    assert followed == await events_of(ours, task)
    assert [event.number for event in followed] == list(range(1, len(followed) + 1))
    assert followed[-1].state is TaskState.COMPLETED
    answer = await ask(theirs, session_id, "My name is Alice")
    assert (answer.state, answer.turn) == (TaskState.COMPLETED, 2)


async def test_a_worker_that_dies_with_its_engine_is_noticed_as_ever(server: redis_server.Server) -> None:
    clock = ManualClock()
    dead, alive = RedisStore(server.url, clock=clock), RedisStore(server.url, clock=clock)
    forever = asyncio.Event()

    async def answer(turn: Turn) -> AsyncIterator[str]:
        yield "begun"
        await forever.wait()

    services = services_with(dead, agent=answer, clock=clock)
    task = await services.turns.start(ALICE, await new_session(services), said("hello"))
    while not (await alive.read_events(ALICE, task.id, after=0, wait=1000)).events:
        pass
    await dead.aclose()
    await restart(server)
    others = services_with(alive, clock=clock)
    clock.advance(seconds=PRODUCER_LEASE / 1000)
    first, last = await events_of(others, task)
    assert (first.text, last.state, last.error and last.error.code) == ("begun", TaskState.FAILED, "worker_lost")
    await services.turns.stop()
    await alive.aclose()
    await dead.aclose()


async def test_an_engine_that_comes_back_empty_ends_the_task_cleanly(
    server: redis_server.Server, stores: tuple[RedisStore, RedisStore]
) -> None:
    ours, theirs = (services_with(store) for store in stores)
    session_id = await new_session(ours)
    task = await ours.turns.start(ALICE, session_id, said("count to 100 every 30 ms"))
    following = asyncio.create_task(events_of(theirs, task))
    await asyncio.sleep(0.6)
    server.client().flushall()
    followed: list[Event] = await following
    assert (followed[-1].state, followed[-1].error and followed[-1].error.code) == (
        TaskState.CANCELED,
        "session_ended",
    )
    assert [event.kind for event in followed[:-1]] == [EventKind.MESSAGE] * (len(followed) - 1)
    await ours.turns.drain()
    with pytest.raises(NotFound):
        await stores[0].read_session(ALICE, session_id)


async def test_a_log_that_has_lost_its_end_gets_no_gap(redis: Bench, engine: Engine) -> None:
    """As after a crash of a whole machine, with an append-only file that is synced every second."""
    lease = await redis.claimed(await redis.session())
    lease = await redis.store.append_events(lease, pieces(1, 5), extend=LEASE)
    log = next(key for key in await engine.keys(lease.session.id) if ":log:" in key)
    await engine.client.xdel(log, "5-0", "4-0")
    await engine.client.execute_command("XSETID", log, "3-0")
    with pytest.raises(LeaseLost, match=r"has lost events of task .*: its log ends with 3"):
        await redis.store.append_events(lease, pieces(6, 7), extend=LEASE)
    assert await redis.numbers(lease.task_id) == [1, 2, 3]
    await redis.store.append_events(lease, pieces(4, 4), extend=LEASE)
    await engine.client.xadd(log, {"t": "from nowhere"}, id="9-0")
    assert await redis.numbers(lease.task_id) == [1, 2, 3, 4], "what follows a gap is not shown"
