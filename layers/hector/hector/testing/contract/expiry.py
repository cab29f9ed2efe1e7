"""A session past its expiry does not exist, on every path, at that very millisecond."""

from __future__ import annotations

from collections.abc import Awaitable

import pytest

from hector.errors import LeaseLost, NotFound
from hector.testing.bench import DONE, LEASE, MAX_AGE, TTL, Bench, done, nonce, pieces
from hector.testing.contract.ownership import CALLS, Call, strangers


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("late", [-1, 0, 1])
async def test_on_every_call_of_a_principal(bench: Bench, call: Call, late: int) -> None:
    session = await bench.session()
    task = await bench.submitted(session)
    bench.clock.now = session.expires_at + late
    calling = call(bench.store, bench.principal, session.id, task.id)
    if late < 0:
        await calling
    else:
        with pytest.raises(NotFound):
            await calling


@pytest.mark.parametrize("late", [-1, 0, 1])
async def test_in_listings(bench: Bench, late: int) -> None:
    session = await bench.session()
    bench.clock.now = session.expires_at + late
    assert (await bench.store.list_sessions(bench.principal)).items == ([session] if late < 0 else [])


async def test_what_is_submitted_too_late_is_never_seen(bench: Bench) -> None:
    session = await bench.session()
    bench.clock.now = session.expires_at
    task = bench.task(session)
    try:
        await bench.store.submit(task, nonce=nonce())
    except NotFound:
        return
    with pytest.raises(NotFound):
        await bench.claim(task)
    with pytest.raises(NotFound):
        await bench.store.read_task(bench.principal, task.id)


@pytest.mark.parametrize("late", [-1, 0, 1])
@pytest.mark.parametrize("verb", ["append", "renew", "check", "commit"])
async def test_on_every_call_of_a_worker(bench: Bench, verb: str, late: int) -> None:
    session = await bench.session(ttl=1_000)
    lease = await bench.claimed(session)
    assert lease.session.expires_at == lease.until
    bench.clock.now = lease.until + late
    match verb:
        case "append":
            calling: Awaitable[object] = bench.store.append_events(lease, pieces(1, 1), extend=LEASE)
        case "renew":
            calling = bench.store.append_events(lease, [], extend=LEASE)
        case "check":
            calling = bench.store.check_lease(lease)
        case _:
            calling = bench.store.commit(lease, DONE, nonce=nonce())
    if late < 0:
        await calling
    else:
        with pytest.raises(LeaseLost):
            await calling
        with pytest.raises(NotFound):
            await bench.store.read_session(bench.principal, session.id)


async def test_an_old_lease_object_does_not_make_a_renewed_turn_expire(bench: Bench) -> None:
    lease = await bench.claimed(await bench.session(ttl=1_000))
    bench.clock.now = lease.until - 1
    await bench.store.append_events(lease, [], extend=LEASE)
    bench.clock.now = lease.until + 1
    assert (await bench.store.commit(lease, DONE, nonce=nonce())).turn == 1


async def test_what_ended_with_it_is_told_to_those_who_followed_it_and_to_nobody_else(bench: Bench) -> None:
    session = await bench.session(ttl=1_000)
    lease = await bench.claimed(session)
    await bench.store.append_events(lease, pieces(1, 3), extend=LEASE)
    bench.clock.advance(seconds=5)
    with pytest.raises(NotFound):
        await bench.store.read_past(bench.principal, lease.task_id, after=0)
    task = await bench.store.commit(lease, done(3), nonce=nonce())
    assert await bench.store.read_past(bench.principal, task.id, after=2) == (task, pieces(3, 3))
    await bench.store.update_session(bench.principal, session.id, ttl=1)
    await bench.store.release(lease)
    bench.clock.advance(seconds=0.001)
    other = bench.another()
    await other.clean_up()
    for calling in (
        other.read_session(bench.principal, session.id),
        other.read_task(bench.principal, task.id),
        other.read_events(bench.principal, task.id, after=0),
    ):
        with pytest.raises(NotFound):
            await calling
    assert await other.read_past(bench.principal, task.id, after=0) == (task, pieces(1, 3))
    assert await other.read_past(bench.principal, task.id, after=1, limit=1) == (task, pieces(2, 2))
    assert await other.read_past(bench.principal, task.id, after=3) == (task, [])
    for stranger in strangers(bench.principal):
        with pytest.raises(NotFound):
            await other.read_past(stranger, task.id, after=0)
    for task_id in (task.id[:-1] + "x", "", "nonsense"):
        with pytest.raises(NotFound):
            await other.read_past(bench.principal, task_id, after=0)


async def test_of_what_was_deleted_nothing_is_told(bench: Bench) -> None:
    session = await bench.session()
    task = await bench.turn(session)
    await bench.store.delete_session(bench.principal, session.id)
    with pytest.raises(NotFound):
        await bench.store.read_past(bench.principal, task.id, after=0)


@pytest.mark.parametrize("late", [0, 1])
async def test_release_does_not_bring_a_session_back(bench: Bench, late: int) -> None:
    session = await bench.session(ttl=1_000)
    lease = await bench.claimed(session)
    await bench.store.commit(lease, DONE, nonce=nonce())
    bench.clock.now = lease.until + late
    await bench.store.release(lease)
    with pytest.raises(NotFound):
        await bench.store.read_session(bench.principal, session.id)


async def test_discard_is_silent(bench: Bench) -> None:
    session = await bench.session()
    task, mine = bench.task(session), nonce()
    await bench.store.submit(task, nonce=mine)
    bench.clock.now = session.expires_at
    await bench.store.discard(task, nonce=mine)


async def test_creating_a_session_again_does_not_bring_it_back(bench: Bench) -> None:
    session = await bench.session()
    bench.clock.now = session.expires_at
    await bench.store.create_session(session)
    with pytest.raises(NotFound):
        await bench.store.read_session(bench.principal, session.id)


async def test_a_turn_slides_it_from_its_start_and_again_from_its_end(bench: Bench) -> None:
    session = await bench.session()
    bench.clock.now = session.expires_at - 10
    lease = await bench.claimed(session)
    assert lease.session.expires_at == bench.clock.now + TTL
    bench.clock.advance(seconds=14)
    await bench.ended(lease)
    bench.clock.advance(seconds=(TTL - 1) / 1000)
    await bench.store.read_session(bench.principal, session.id)


@pytest.mark.parametrize("late", [-1, 0, 1])
async def test_the_last_expiry_ends_it_however_active_it_is(bench: Bench, late: int) -> None:
    session = await bench.session()
    while bench.clock.now + TTL < session.last_expiry:
        await bench.turn(session)
        bench.clock.advance(seconds=50)
    await bench.turn(session)
    task = await bench.submitted(session)
    bench.clock.now = session.created_at + MAX_AGE + late
    if late < 0:
        await bench.store.read_session(bench.principal, session.id)
        await bench.claim(task)
    else:
        with pytest.raises(NotFound):
            await bench.store.read_session(bench.principal, session.id)
        with pytest.raises(NotFound):
            await bench.claim(task)
