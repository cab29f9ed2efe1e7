"""release: gives the lease back, as often as one likes, and from then on the session idles."""

from __future__ import annotations

import pytest

from hector.errors import LeaseLost, SessionBusy
from hector.model import TaskState
from hector.testing.bench import DONE, LEASE, MAX_AGE, TTL, Bench, nonce, pieces
from hector.testing.contract.sweeping import unfinished


async def test_the_session_is_free_and_has_one_turn_more(bench: Bench) -> None:
    session = await bench.session()
    for turns in (1, 2):
        await bench.turn(session)
        shown = await bench.store.read_session(bench.principal, session.id)
        assert (shown.turns, shown.open_task_id) == (turns, None)


async def test_slides_the_expiry(bench: Bench) -> None:
    session = await bench.session()
    lease = await bench.claimed(session)
    bench.clock.advance(seconds=10)
    await bench.ended(lease)
    assert (await bench.store.read_session(bench.principal, session.id)).expires_at == bench.clock.now + TTL


async def test_never_slides_past_the_last_expiry(bench: Bench) -> None:
    session = await bench.session()
    for _ in range(MAX_AGE // TTL):
        bench.clock.advance(seconds=(TTL - 100) / 1000)
        await bench.turn(session)
    shown = await bench.store.read_session(bench.principal, session.id)
    assert shown.expires_at == session.last_expiry < bench.clock.now + TTL


async def test_can_be_repeated(bench: Bench) -> None:
    session = await bench.session()
    lease = await bench.claimed(session)
    await bench.ended(lease)
    before = await bench.store.read_session(bench.principal, session.id)
    bench.clock.advance(seconds=5)
    await bench.store.release(lease)
    await bench.another().release(lease)
    assert await bench.store.read_session(bench.principal, session.id) == before


async def test_another_machine_can_do_it(bench: Bench) -> None:
    session = await bench.session()
    lease = await bench.claimed(session)
    await bench.store.commit(lease, DONE, nonce=nonce())
    await bench.another().release(lease)
    assert (await bench.store.read_session(bench.principal, session.id)).turns == 1


async def test_a_stale_worker_releases_nothing(bench: Bench) -> None:
    session = await bench.session()
    task = await bench.submitted(session)
    old = await bench.claim(task)
    bench.clock.now = old.until
    new = await bench.claim(task)
    await bench.store.release(old)
    with pytest.raises(SessionBusy):
        await bench.claimed(session)
    assert (await bench.store.check_lease(new)).until == new.until


async def test_without_a_commit_the_task_waits_again(bench: Bench) -> None:
    session = await bench.session()
    task = await bench.submitted(session)
    lease = await bench.claim(task)
    await bench.store.release(lease)
    assert (await bench.store.read_task(bench.principal, task.id)).state is TaskState.SUBMITTED
    assert (await bench.store.read_session(bench.principal, session.id)).turns == 0
    again = await bench.claim(task)
    assert again.fence > lease.fence
    assert (await bench.ended(again)).turn == 1


async def test_a_turn_that_had_ended_before_it_was_claimed_again_counts_no_second_time(bench: Bench) -> None:
    """As where a key is sent again: who claims its task sees only then that it has ended, and lets go of it."""
    session = await bench.session()
    first, *_ = [await bench.turn(session) for _ in range(3)]
    lease = await bench.claim(first)
    assert lease.head == 3
    await bench.another().release(lease)
    assert (await bench.store.read_session(bench.principal, session.id)).turns == 3
    assert (await bench.turn(session)).turn == 4


async def test_a_turn_for_somebody_else_to_go_on_with_waits_before_all_others(bench: Bench) -> None:
    session = await bench.session()
    lease = await bench.claimed(session)
    behind = await bench.submitted(session)
    await bench.store.line_up(bench.principal, behind.id, most=5)
    await bench.store.append_events(lease, pieces(1, 2), extend=LEASE)
    for store in (bench.store, bench.another(), bench.store):
        await store.release(lease, next_in_line=True)
    shown = await bench.another().read_session(bench.principal, session.id)
    assert (shown.waiting, shown.open_task_id, shown.turns) == ((lease.task_id, behind.id), None, 0)
    page = await bench.store.read_events(bench.principal, lease.task_id, after=0)
    assert (page.events, page.open, page.waiting) == (pieces(1, 2), False, True)
    task = await bench.store.read_task(bench.principal, lease.task_id)
    assert task.state is TaskState.SUBMITTED
    with pytest.raises(SessionBusy) as busy:
        await bench.claim(behind)
    assert busy.value.task_id == lease.task_id
    with pytest.raises(LeaseLost):
        await bench.store.append_events(lease, pieces(3, 3), extend=LEASE)
    with pytest.raises(LeaseLost):
        await bench.store.commit(lease, DONE, nonce=nonce())
    following = await bench.claim(task)
    with pytest.raises(LeaseLost):
        await bench.store.commit(lease, DONE, nonce=nonce())
    assert following.session.waiting == (behind.id,)
    await bench.store.append_events(following, pieces(3, 3), extend=LEASE)
    assert (await bench.ended(following)).turn == 1
    assert (await bench.ended(await bench.claim(behind))).turn == 2


async def test_the_only_one_waits_alone(bench: Bench) -> None:
    session = await bench.session()
    lease = await bench.claimed(session)
    bench.clock.advance(seconds=10)
    await bench.store.release(lease, next_in_line=True)
    shown = await bench.store.read_session(bench.principal, session.id)
    assert (shown.waiting, shown.expires_at) == ((lease.task_id,), bench.clock.now + TTL)
    assert (await unfinished(bench, session))[session.id].lost_task_id is None


@pytest.mark.parametrize("interrupts", [False, True])
async def test_one_that_waits_again_interrupts_nothing_and_is_interrupted(bench: Bench, interrupts: bool) -> None:
    session = await bench.session()
    first = await bench.submitted(session)
    await bench.store.line_up(bench.principal, first.id, most=5, interrupt=True)
    lease = await bench.claim(first)
    await bench.store.release(lease, next_in_line=True)
    second = await bench.submitted(session)
    await bench.store.line_up(bench.principal, second.id, most=5, interrupt=interrupts)
    again = await bench.claim(first)
    assert again.cancel_requested is interrupts


async def test_a_cancel_mark_outlives_a_release_to_somebody_else(bench: Bench) -> None:
    lease = await bench.claimed(await bench.session())
    await bench.store.request_cancel(bench.principal, lease.task_id)
    await bench.store.release(lease, next_in_line=True)
    task = await bench.store.read_task(bench.principal, lease.task_id)
    assert (await bench.claim(task)).cancel_requested
