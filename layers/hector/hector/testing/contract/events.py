"""read_events: the log from a cursor, without gaps, and whether more can come."""

from __future__ import annotations

import asyncio

import pytest

from hector.stores.base import LogPage
from hector.testing.bench import LEASE, Bench, done, nonce, pieces


async def test_every_cursor(bench: Bench) -> None:
    lease = await bench.claimed(await bench.session())
    for first, last in ((1, 1), (2, 4), (5, 9), (10, 10)):
        lease = await bench.store.append_events(lease, pieces(first, last), extend=LEASE)
    for after in range(11):
        page = await bench.store.read_events(bench.principal, lease.task_id, after=after)
        assert page.events == pieces(after + 1, 10)


@pytest.mark.parametrize("after", [0, 1, 127, 128, 129, 255, 256, 399, 400])
async def test_every_cursor_in_long_batches(bench: Bench, after: int) -> None:
    lease = await bench.claimed(await bench.session())
    lease = await bench.store.append_events(lease, pieces(1, 1), extend=LEASE)
    await bench.store.append_events(lease, pieces(2, 400), extend=LEASE)
    page = await bench.store.read_events(bench.principal, lease.task_id, after=after)
    assert page.events == pieces(after + 1, 400)


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
async def test_reads_in_pages(bench: Bench, limit: int) -> None:
    lease = await bench.claimed(await bench.session())
    for first in (1, 4, 7):
        lease = await bench.store.append_events(lease, pieces(first, first + 2), extend=LEASE)
    seen: list[int] = []
    while numbers := await bench.numbers(lease.task_id, after=len(seen), limit=limit):
        assert len(numbers) == min(limit, 9 - len(seen))
        seen += numbers
    assert seen == list(range(1, 10))


async def test_beyond_the_end_there_is_nothing(bench: Bench) -> None:
    lease = await bench.claimed(await bench.session())
    await bench.store.append_events(lease, pieces(1, 2), extend=LEASE)
    assert await bench.numbers(lease.task_id, after=50) == []


async def test_says_whether_the_turn_is_open_and_lost(bench: Bench) -> None:
    task = await bench.submitted(await bench.session())
    seen = []

    async def look() -> None:
        page = await bench.store.read_events(bench.principal, task.id, after=0)
        seen.append((page.open, page.lost))

    await look()
    lease = await bench.claim(task)
    await look()
    bench.clock.now = lease.until - 1
    await look()
    bench.clock.now = lease.until
    await look()
    lease = await bench.claim(task)
    await look()
    await bench.ended(lease)
    await look()
    assert seen == [(False, False), (True, False), (True, False), (True, True), (True, False), (False, False)]


async def test_what_a_crash_left_is_continued_by_who_takes_over(bench: Bench) -> None:
    task = await bench.submitted(await bench.session())
    old = await bench.claim(task)
    await bench.store.append_events(old, pieces(1, 3), extend=LEASE)
    bench.clock.now += LEASE
    new = await bench.claim(task)
    await bench.store.append_events(new, pieces(4, 4), extend=LEASE)
    assert await bench.numbers(task.id) == [1, 2, 3, 4]


async def test_the_log_stays_when_the_turn_has_ended(bench: Bench) -> None:
    session = await bench.session()
    lease = await bench.claimed(session)
    await bench.store.append_events(lease, pieces(1, 3), extend=LEASE)
    await bench.store.commit(lease, done(3), nonce=nonce())
    assert await bench.numbers(lease.task_id) == [1, 2, 3]
    await bench.store.release(lease)
    await bench.turn(session)
    page = await bench.store.read_events(bench.principal, lease.task_id, after=1)
    assert (page.events, page.open, page.lost) == (pieces(2, 3), False, False)


async def test_nobody_waits_for_what_is_there_or_can_never_come(bench: Bench) -> None:
    lease = await bench.claimed(await bench.session())
    lease = await bench.store.append_events(lease, pieces(1, 2), extend=LEASE)

    async def read(after: int) -> LogPage:
        async with asyncio.timeout(20):
            return await bench.store.read_events(bench.principal, lease.task_id, after=after, wait=60_000)

    assert (await read(1)).events == pieces(2, 2)
    bench.clock.now = lease.until
    assert (await read(2)).lost
    lease = await bench.claim(await bench.store.read_task(bench.principal, lease.task_id))
    await bench.ended(lease, done(2))
    assert (await read(1)).events == pieces(2, 2)
    page = await read(2)
    assert (page.events, page.open) == ([], False)


async def test_a_wait_hears_of_events_and_of_the_end_or_does_not_take_place(bench: Bench) -> None:
    """A store that can be told waits until then; the others answer at once, and are asked again."""
    lease = await bench.claimed(await bench.session())
    reader, seen = bench.another(), list[int]()

    async def follow() -> None:
        while True:
            page = await reader.read_events(bench.principal, lease.task_id, after=len(seen), wait=60_000)
            seen.extend(event.number for event in page.events)
            if not page.open:
                return
            await asyncio.sleep(0.01)

    following = asyncio.create_task(follow())
    for number in (1, 2, 3):
        await asyncio.sleep(0.05)
        await bench.store.append_events(lease, pieces(number, number), extend=LEASE)
    await asyncio.sleep(0.05)
    await bench.ended(lease, done(3))
    async with asyncio.timeout(20):
        await following
    assert seen == [1, 2, 3]


async def test_a_wait_is_no_longer_than_was_asked_for(bench: Bench) -> None:
    lease = await bench.claimed(await bench.session())
    async with asyncio.timeout(20):
        page = await bench.store.read_events(bench.principal, lease.task_id, after=0, wait=200)
    assert (page.events, page.open, page.lost) == ([], True, False)


async def test_reads_beyond_one_page_of_the_engine(bench: Bench) -> None:
    """DynamoDB's pages end at 1 MB."""
    lease = await bench.claimed(await bench.session())
    events = [event._replace(text="å" * 50_000) for event in pieces(1, 15)]
    for event in events:
        lease = await bench.store.append_events(lease, [event], extend=LEASE)
    assert (await bench.store.read_events(bench.principal, lease.task_id, after=0)).events == events
