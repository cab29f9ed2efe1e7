"""append_events and check_lease: a fenced, numbered log whose writing keeps the turn and its session alive."""

from __future__ import annotations

import asyncio

import pytest

from hector.errors import LeaseLost, NotFound
from hector.model import Event, EventKind, StopReason, TaskError, TaskState
from hector.testing.bench import LEASE, MAX_AGE, Bench, done, nonce, pieces

EVERY_KIND = [
    Event(1, EventKind.MESSAGE, "zwölf 🥊\n\x00\u2028\"'\\"),
    Event(2, EventKind.MESSAGE, ""),
    Event(3, EventKind.STATUS, state=TaskState.WORKING),
    Event(4, EventKind.STATUS, "half way", TaskState.WORKING, 0.5),
    Event(5, EventKind.STATUS, state=TaskState.FAILED, error=TaskError("code", "an error")),
    Event(6, EventKind.STATUS, fraction=0.0),
    Event(7, EventKind.MESSAGE, "long " * 10_000),
    Event(8, EventKind.MESSAGE, '["not", "a", "list"]'),
    Event(9, EventKind.STATUS, state=TaskState.COMPLETED, stop_reason=StopReason.CONTEXT_WINDOW),
]


async def test_reads_back_every_field(bench: Bench) -> None:
    lease = await bench.claimed(await bench.session())
    await bench.store.append_events(lease, EVERY_KIND, extend=LEASE)
    assert (await bench.store.read_events(bench.principal, lease.task_id, after=0)).events == EVERY_KIND


async def test_batches_make_one_log(bench: Bench) -> None:
    lease = await bench.claimed(await bench.session())
    for first, last in ((1, 1), (2, 12), (13, 300), (301, 302)):
        lease = await bench.store.append_events(lease, pieces(first, last), extend=LEASE)
    page = await bench.store.read_events(bench.principal, lease.task_id, after=0)
    assert page.events == pieces(1, 302)


async def test_the_same_batch_again_changes_nothing(bench: Bench) -> None:
    lease = await bench.claimed(await bench.session())
    await bench.store.append_events(lease, pieces(1, 3), extend=LEASE)
    await bench.store.append_events(lease, pieces(4, 5), extend=LEASE)
    await bench.store.append_events(lease, pieces(4, 5), extend=LEASE)
    assert await bench.numbers(lease.task_id) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("more", [0, 1, 200])
async def test_a_batch_whose_answer_was_lost_may_have_grown_when_it_comes_again(bench: Bench, more: int) -> None:
    """The worker goes on meanwhile, and sends all that it does not know to be written."""
    lease = await bench.claimed(await bench.session())
    await bench.store.append_events(lease, pieces(1, 3), extend=LEASE)
    await bench.store.append_events(lease, pieces(4, 6), extend=LEASE)
    await bench.store.append_events(lease, pieces(4, 6 + more), extend=LEASE)
    await bench.store.append_events(lease, pieces(7 + more, 8 + more), extend=LEASE)
    page = await bench.another().read_events(bench.principal, lease.task_id, after=0)
    assert page.events == pieces(1, 8 + more)


@pytest.mark.parametrize("events", [[], pieces(1, 1)])
async def test_renews_the_lease(bench: Bench, events: list[Event]) -> None:
    lease = await bench.claimed(await bench.session())
    bench.clock.advance(seconds=5)
    renewed = await bench.store.append_events(lease, events, extend=LEASE)
    assert renewed.until == bench.clock.now + LEASE
    assert (renewed.fence, renewed.task_id, renewed.head) == (lease.fence, lease.task_id, lease.head)
    assert await bench.store.check_lease(lease) == renewed


async def test_keeps_a_session_alive_that_is_shorter_than_its_turn(bench: Bench) -> None:
    session = await bench.session(ttl=1_000)
    lease = await bench.claimed(session)
    for _ in range(5):
        bench.clock.now = lease.until - 1
        lease = await bench.store.append_events(lease, [], extend=LEASE)
        shown = await bench.store.read_session(bench.principal, session.id)
        assert shown.expires_at == lease.session.expires_at == lease.until
    await bench.ended(lease)
    assert (await bench.store.read_session(bench.principal, session.id)).expires_at == bench.clock.now + 1_000


async def test_keeps_a_session_alive_beyond_its_last_expiry_while_a_turn_runs(bench: Bench) -> None:
    session = await bench.session(ttl=MAX_AGE * 2)
    bench.clock.now = session.last_expiry - 2
    lease = await bench.claimed(session)
    bench.clock.now = lease.until - 1
    lease = await bench.store.append_events(lease, [], extend=LEASE)
    assert (await bench.store.read_session(bench.principal, session.id)).expires_at == lease.until
    await bench.ended(lease)
    with pytest.raises(NotFound):
        await bench.store.read_session(bench.principal, session.id)


async def test_a_cancel_mark_comes_back(bench: Bench) -> None:
    lease = await bench.claimed(await bench.session())
    assert not (await bench.store.append_events(lease, [], extend=LEASE)).cancel_requested
    assert not (await bench.store.check_lease(lease)).cancel_requested
    await bench.store.request_cancel(bench.principal, lease.task_id)
    assert (await bench.store.append_events(lease, pieces(1, 1), extend=LEASE)).cancel_requested
    assert (await bench.store.check_lease(lease)).cancel_requested


async def test_the_metadata_stays_with_the_lease(bench: Bench) -> None:
    lease = await bench.claimed(await bench.session(metadata={"a": 1}))
    assert (await bench.store.append_events(lease, [], extend=LEASE)).session.metadata == {"a": 1}
    assert (await bench.store.check_lease(lease)).session.metadata == {"a": 1}


async def test_after_release_nothing_is_written(bench: Bench) -> None:
    session = await bench.session()
    lease = await bench.claimed(session)
    await bench.store.append_events(lease, pieces(1, 1), extend=LEASE)
    await bench.store.commit(lease, done(1), nonce=nonce())
    await bench.store.release(lease)
    for events in (pieces(2, 2), []):
        with pytest.raises(LeaseLost):
            await bench.store.append_events(lease, events, extend=LEASE)
    with pytest.raises(LeaseLost):
        await bench.store.check_lease(lease)
    assert await bench.numbers(lease.task_id) == [1]
    assert (await bench.claimed(session)).fence > lease.fence


async def test_each_task_has_its_own_log(bench: Bench) -> None:
    session = await bench.session()
    leases = []
    for count in (2, 3):
        lease = await bench.claimed(session)
        await bench.store.append_events(lease, pieces(1, count), extend=LEASE)
        await bench.ended(lease, done(count))
        leases.append(lease)
    first, second = await asyncio.gather(*(bench.numbers(lease.task_id) for lease in leases))
    assert (first, second) == ([1, 2], [1, 2, 3])
