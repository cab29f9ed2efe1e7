"""claim: one open turn per session, and a worker that lost its lease can write nothing more."""

from __future__ import annotations

import asyncio

import pytest

from hector.errors import LeaseLost, LostTurn, NotFound, SessionBusy
from hector.model import TaskState, new_session_id, new_task_id
from hector.stores.base import Outcome
from hector.testing.bench import DONE, LEASE, TTL, Bench, nonce, pieces


async def test_gives_the_lease_and_the_session(bench: Bench) -> None:
    session = await bench.session(metadata={"a": 1})
    await bench.turn(session)
    task = await bench.submitted(session)
    lease = await bench.claim(task)
    assert (lease.task_id, lease.until, lease.cancel_requested) == (task.id, bench.clock.now + LEASE, False)
    assert lease.head == 1
    assert lease.session.metadata == {"a": 1}
    assert lease.session == await bench.store.read_session(bench.principal, session.id)
    assert (await bench.store.read_task(bench.principal, task.id)).state is TaskState.WORKING


async def test_slides_the_expiry(bench: Bench) -> None:
    session = await bench.session()
    bench.clock.advance(seconds=30)
    lease = await bench.claimed(session)
    assert lease.session.expires_at == bench.clock.now + TTL
    assert lease.session.last_activity_at == bench.clock.now


async def test_the_fence_grows_with_every_claim(bench: Bench) -> None:
    session = await bench.session()
    fences = []
    for _ in range(3):
        lease = await bench.claimed(session)
        fences.append(lease.fence)
        await bench.ended(lease)
    assert fences == sorted(set(fences))


async def test_can_be_submitted_and_claimed_side_by_side(bench: Bench) -> None:
    task = bench.task(await bench.session())
    submitted, lease = await asyncio.gather(bench.store.submit(task, nonce=nonce()), bench.claim(task))
    assert submitted.created
    assert (await bench.ended(lease)).turn == 1


async def test_a_busy_session_is_refused_and_names_the_open_task(bench: Bench) -> None:
    session = await bench.session()
    lease = await bench.claimed(session)
    other = await bench.submitted(session)
    bench.clock.now = lease.until - 1
    for task_id in (other.id, lease.task_id):
        with pytest.raises(SessionBusy) as busy:
            await bench.store.claim(bench.principal, session.id, task_id, lease=LEASE, nonce=nonce())
        assert busy.value.task_id == lease.task_id
    assert (await bench.store.check_lease(lease)).until == lease.until


async def test_ones_own_retry_is_recognised(bench: Bench) -> None:
    task = await bench.submitted(await bench.session())
    first = await bench.claim(task, by="me")
    assert await bench.claim(task, by="me") == first


async def test_anothers_lost_turn_has_to_be_closed_first(bench: Bench) -> None:
    session = await bench.session()
    lost = await bench.claimed(session)
    task = await bench.submitted(session)
    bench.clock.now = lost.until
    with pytest.raises(LostTurn) as raised:
        await bench.claim(task)
    assert raised.value.task_id == lost.task_id


async def test_a_lost_turn_is_taken_over(bench: Bench) -> None:
    task = await bench.submitted(await bench.session())
    old = await bench.claim(task)
    await bench.store.append_events(old, pieces(1, 2), extend=LEASE)
    bench.clock.now = old.until
    new = await bench.claim(task)
    assert new.fence > old.fence
    assert new.head == old.head
    for write in (
        bench.store.append_events(old, pieces(3, 3), extend=LEASE),
        bench.store.append_events(old, [], extend=LEASE),
        bench.store.check_lease(old),
        bench.store.commit(old, DONE, nonce=nonce()),
    ):
        with pytest.raises(LeaseLost):
            await write
    await bench.store.release(old)
    assert await bench.numbers(task.id) == [1, 2]
    assert (await bench.store.check_lease(new)).until == new.until
    ended = await bench.ended(new, Outcome(TaskState.FAILED, 2))
    assert (ended.state, ended.turn) == (TaskState.FAILED, 1)


async def test_a_takeovers_own_retry_is_recognised(bench: Bench) -> None:
    task = await bench.submitted(await bench.session())
    old = await bench.claim(task)
    bench.clock.now = old.until
    new = await bench.claim(task, by="me")
    assert await bench.claim(task, by="me") == new
    with pytest.raises(LeaseLost):
        await bench.store.commit(old, DONE, nonce=nonce())


async def test_a_turn_that_was_committed_but_not_released_is_closed_by_whoever_comes(bench: Bench) -> None:
    session = await bench.session()
    lease = await bench.claimed(session)
    ended = await bench.store.commit(lease, DONE, nonce=nonce())
    bench.clock.now = lease.until
    closing = await bench.claim(ended)
    await bench.another().release(closing)
    assert (await bench.store.read_session(bench.principal, session.id)).turns == 1
    assert (await bench.claimed(session)).head == 1


async def test_a_worker_may_be_late_as_long_as_nobody_took_over(bench: Bench) -> None:
    session = await bench.session()
    lease = await bench.claimed(session)
    bench.clock.now = lease.until + 1
    assert (await bench.store.append_events(lease, pieces(1, 1), extend=LEASE)).until == bench.clock.now + LEASE
    with pytest.raises(SessionBusy):
        await bench.claimed(session)


async def test_unknown_session(bench: Bench) -> None:
    session_id = new_session_id()
    task_id = new_task_id(session_id, bench.clock.now)
    with pytest.raises(NotFound):
        await bench.store.claim(bench.principal, session_id, task_id, lease=LEASE, nonce=nonce())
