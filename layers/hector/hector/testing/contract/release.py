"""release: gives the lease back, as often as one likes, and from then on the session idles."""

from __future__ import annotations

import pytest

from hector.errors import SessionBusy
from hector.model import TaskState
from hector.testing.bench import DONE, MAX_AGE, TTL, Bench, nonce


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
