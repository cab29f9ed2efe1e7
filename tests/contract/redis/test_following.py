"""read_events with `wait`: told of new events and of a turn's end at once, not by looking again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from hector.errors import NotFound
from hector.model import Event, TaskState
from hector.stores.base import LogPage, Outcome, Store
from hector.stores.redis import connection
from hector.testing.bench import DONE, LEASE, Bench, nonce, pieces

LONG = 60_000
"""Far longer than the test may take: who waits for it to end fails."""


@pytest.fixture(autouse=True)
def no_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "POLL_SECONDS", 60)
    monkeypatch.setattr(connection, "LONGEST_WAIT_SECONDS", 60)


async def waiting(bench: Bench, task_id: str, *, after: int = 0, store: Store | None = None) -> asyncio.Task[LogPage]:
    """A reader elsewhere that blocks by now."""
    reader = store or bench.another()
    reading = asyncio.create_task(reader.read_events(bench.principal, task_id, after=after, wait=LONG))
    await asyncio.sleep(0.2)
    assert not reading.done()
    return reading


async def test_new_events_end_the_wait(everywhere: Bench) -> None:
    lease = await everywhere.claimed(await everywhere.session())
    events: list[Event] = []
    reader = everywhere.another()
    for number in range(1, 4):
        reading = await waiting(everywhere, lease.task_id, after=len(events), store=reader)
        await everywhere.store.append_events(lease, pieces(2 * number - 1, 2 * number), extend=LEASE)
        async with asyncio.timeout(5):
            events += (await reading).events
    assert events == pieces(1, 6)


@pytest.mark.parametrize("end", ["release", "hand_over", "delete", "cancel", "leave_line"])
async def test_an_end_ends_the_wait(everywhere: Bench, end: str) -> None:
    session = await everywhere.session()
    store, who = everywhere.store, everywhere.principal
    task = await everywhere.submitted(session)
    ends: dict[str, Callable[[], Awaitable[object]]] = {
        "release": lambda: everywhere.ended(lease),
        "hand_over": lambda: store.release(lease, next_in_line=True),
        "delete": lambda: store.delete_session(who, session.id),
        "cancel": lambda: store.request_cancel(who, task.id),
        "leave_line": lambda: store.leave_line(who, task.id, Outcome(TaskState.FAILED, 0), nonce=nonce()),
    }
    if end == "leave_line":
        await store.line_up(who, task.id, most=1)
    if end in ("release", "hand_over", "delete"):
        lease = await everywhere.claim(task)
    reading = await waiting(everywhere, task.id)
    await ends[end]()
    async with asyncio.timeout(5):
        if end == "delete":
            with pytest.raises(NotFound):
                await reading
        else:
            page = await reading
            assert (page.open, page.waiting, page.events) == (False, end == "hand_over", [])


async def test_a_task_in_line_hears_of_its_beginning_by_its_events_and_of_the_turn_before(redis: Bench) -> None:
    session = await redis.session()
    lease = await redis.claimed(session)
    task = await redis.submitted(session)
    await redis.store.line_up(redis.principal, task.id, most=1)
    reading = await waiting(redis, task.id)
    await redis.ended(lease)
    async with asyncio.timeout(5):
        assert (await reading).waiting
    reading = await waiting(redis, task.id)
    lease = await redis.claim(task)
    await redis.store.append_events(lease, pieces(1, 1), extend=LEASE)
    async with asyncio.timeout(5):
        assert (await reading).events == pieces(1, 1)


async def test_an_end_between_the_look_and_the_wait_is_not_missed(
    redis: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = await redis.claimed(await redis.session())
    reader = redis.another()
    block = reader._connection.wait_for  # type: ignore[attr-defined]

    async def late(streams: dict[str, str], seconds: float) -> None:
        await redis.ended(lease)
        await block(streams, seconds)

    monkeypatch.setattr(reader._connection, "wait_for", late)  # type: ignore[attr-defined]
    async with asyncio.timeout(5):
        page = await reader.read_events(redis.principal, lease.task_id, after=0, wait=LONG)
    assert not page.open


async def test_a_wait_ends_with_the_lease_so_that_a_lost_turn_is_seen(redis: Bench) -> None:
    lease = await redis.claimed(await redis.session(), lease=300)
    async with asyncio.timeout(5):
        page = await redis.store.read_events(redis.principal, lease.task_id, after=0, wait=LONG)
    assert page.open
    redis.clock.now = lease.until
    assert (await redis.store.read_events(redis.principal, lease.task_id, after=0, wait=LONG)).lost


async def test_readers_beyond_the_bound_poll(redis: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "WAITERS", 2)
    monkeypatch.setattr(connection, "POLL_SECONDS", 0.05)
    lease = await redis.claimed(await redis.session())
    reader = redis.another()
    blocked = [await waiting(redis, lease.task_id, store=reader) for _ in range(2)]
    async with asyncio.timeout(5):
        page = await reader.read_events(redis.principal, lease.task_id, after=0, wait=LONG)
        assert (page.events, page.open) == ([], True)
        await redis.ended(lease, DONE)
        assert [(await reading).open for reading in blocked] == [False, False]


async def test_a_reader_that_is_given_up_frees_its_place(redis: Bench) -> None:
    lease = await redis.claimed(await redis.session())
    reader = redis.another()
    for _ in range(3):
        reading = await waiting(redis, lease.task_id, store=reader)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    assert reader._connection._waiting == 0  # type: ignore[attr-defined]
