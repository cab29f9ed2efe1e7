"""What a sweep and a worker may ask: whose a session is, where nobody is at work, and what expired sessions left."""

from __future__ import annotations

import pytest

from hector.errors import NotFound
from hector.model import Session
from hector.stores.base import Unfinished
from hector.testing.bench import LEASE, MAX_AGE, TTL, Bench

HOUR = 3_600_000


async def unfinished(bench: Bench, *sessions: Session, limit: int = 100) -> dict[str, Unfinished]:
    """Those among these sessions: others may use the same engine."""
    found: dict[str, Unfinished] = {}
    cursor = None
    while True:
        page = await bench.store.list_unfinished(cursor=cursor, limit=limit)
        assert len(page.items) <= limit
        for item in page.items:
            assert item.session.id not in found
            found[item.session.id] = item
        if (cursor := page.next_cursor) is None:
            return {session.id: found[session.id] for session in sessions if session.id in found}


async def test_whose_a_session_is(bench: Bench) -> None:
    session = await bench.session()
    assert await bench.store.read_owner(session.id) == bench.principal
    with pytest.raises(NotFound):
        await bench.store.read_owner("nobody")
    bench.clock.advance(seconds=TTL / 1000)
    with pytest.raises(NotFound):
        await bench.store.read_owner(session.id)


async def test_sessions_in_which_nobody_is_at_work_are_found(bench: Bench) -> None:
    idle, lost, stuck, busy = [await bench.session() for _ in range(4)]
    await bench.turn(idle)
    gone = await bench.claimed(lost)
    bench.clock.advance(seconds=LEASE / 1000)
    waits = await bench.submitted(stuck)
    await bench.store.line_up(bench.principal, waits.id, most=1)
    running = await bench.claimed(busy)
    behind = await bench.submitted(busy)
    await bench.store.line_up(bench.principal, behind.id, most=1)
    found = await unfinished(bench, idle, lost, stuck, busy)
    assert set(found) == {lost.id, stuck.id}
    assert found[lost.id].lost_task_id == gone.task_id
    assert found[lost.id].session.principal == bench.principal
    assert found[stuck.id].lost_task_id is None
    assert found[stuck.id].session.waiting == (waits.id,)
    await bench.ended(running)
    assert busy.id in await unfinished(bench, busy), "nobody has begun with the next in line"


async def test_a_turn_that_began_within_the_hour_is_found(bench: Bench) -> None:
    lost, stuck = [await bench.session(ttl=2 * HOUR, max_age=2 * HOUR) for _ in range(2)]
    gone = await bench.claimed(lost, lease=HOUR - 2000)
    waits = await bench.submitted(stuck)
    await bench.store.line_up(bench.principal, waits.id, most=1)
    bench.clock.advance(seconds=HOUR / 1000 - 1)
    found = await unfinished(bench, lost, stuck)
    assert (found[lost.id].lost_task_id, found[stuck.id].lost_task_id) == (gone.task_id, None)


async def test_unfinished_sessions_come_in_pages(bench: Bench) -> None:
    sessions = [await bench.session() for _ in range(5)]
    for session in sessions:
        await bench.claimed(session)
    bench.clock.advance(seconds=LEASE / 1000)
    assert len(await unfinished(bench, *sessions, limit=2)) == 5


async def test_expired_sessions_are_nobodys_work(bench: Bench) -> None:
    session = await bench.session(ttl=LEASE)
    await bench.claimed(session)
    bench.clock.advance(seconds=LEASE / 1000)
    assert await unfinished(bench, session) == {}


async def test_every_session_of_everybody_can_be_listed(bench: Bench) -> None:
    sessions = {(session := await bench.session()).id: session for _ in range(5)}
    expired = await bench.session(ttl=1000)
    bench.clock.advance(seconds=1)
    found: list[Session] = []
    cursor = None
    while True:
        page = await bench.store.list_every_session(cursor=cursor, limit=2)
        assert len(page.items) <= 2
        found += page.items
        if (cursor := page.next_cursor) is None:
            break
    ids = [session.id for session in found]
    assert len(ids) == len(set(ids))
    assert expired.id not in ids
    assert {session.id: session for session in found if session.id in sessions} == sessions


async def test_cleaning_up_leaves_what_is_alive(bench: Bench) -> None:
    expired, alive = await bench.session(ttl=1000), await bench.session()
    await bench.turn(expired)
    turn = await bench.turn(alive)
    bench.clock.advance(seconds=TTL / 1000 - 1)
    assert await bench.store.clean_up() >= 0
    assert await bench.store.read_task(bench.principal, turn.id) == turn
    with pytest.raises(NotFound):
        await bench.store.read_session(bench.principal, expired.id)
    bench.clock.advance(seconds=MAX_AGE / 1000)
    await bench.store.clean_up()
