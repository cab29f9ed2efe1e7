"""delete_session: gone at that very moment, and nothing of it comes back."""

from __future__ import annotations

import asyncio

import pytest

from hector.errors import LeaseLost, NotFound
from hector.model import Session, Task
from hector.stores.base import Idempotency
from hector.testing.bench import DONE, LEASE, Bench, nonce, pieces


async def gone(bench: Bench, session: Session, task: Task) -> None:
    store, who = bench.store, bench.principal
    for call in (
        store.read_session(who, session.id),
        store.delete_session(who, session.id),
        store.read_history(who, session.id, limit=5),
        store.list_tasks(who, session.id),
        store.read_task(who, task.id),
        store.read_events(who, task.id, after=0),
        store.request_cancel(who, task.id),
        store.claim(who, session.id, task.id, lease=LEASE, nonce=nonce()),
        store.submit(bench.task(session), nonce=nonce()),
    ):
        with pytest.raises(NotFound):
            await call
    assert (await store.list_sessions(who)).items == []


async def test_erases_all_that_belongs_to_it(bench: Bench) -> None:
    session, other = await bench.session(metadata={"a": 1}), await bench.session()
    kept = await bench.turn(other)
    task = bench.task(session)
    await bench.store.submit(task, nonce=nonce(), idempotency=Idempotency("key", "f"))
    lease = await bench.claim(task)
    for number in range(1, 31):
        lease = await bench.store.append_events(lease, pieces(number, number), extend=LEASE)
    await bench.ended(lease)
    await bench.store.delete_session(bench.principal, session.id)
    assert (await bench.store.list_sessions(bench.principal)).items == [
        await bench.store.read_session(bench.principal, other.id)
    ]
    assert await bench.store.read_task(bench.principal, kept.id) == kept
    await bench.store.delete_session(bench.principal, other.id)
    await gone(bench, session, task)


async def test_in_the_middle_of_a_turn(bench: Bench) -> None:
    session = await bench.session()
    lease = await bench.claimed(session)
    task = await bench.store.read_task(bench.principal, lease.task_id)
    await bench.store.append_events(lease, pieces(1, 1), extend=LEASE)
    await bench.store.delete_session(bench.principal, session.id)
    for events in (pieces(2, 2), []):
        with pytest.raises(LeaseLost):
            await bench.store.append_events(lease, events, extend=LEASE)
    with pytest.raises(LeaseLost):
        await bench.store.check_lease(lease)
    with pytest.raises((LeaseLost, NotFound)):
        await bench.store.commit(lease, DONE, nonce=nonce())
    await bench.store.release(lease)
    await bench.store.discard(task, nonce=nonce())
    await gone(bench, session, task)


async def test_twice_at_once(bench: Bench) -> None:
    session = await bench.session()
    task = await bench.turn(session)
    results = await asyncio.gather(
        *(bench.store.delete_session(bench.principal, session.id) for _ in range(2)), return_exceptions=True
    )
    assert None in results
    assert all(result is None or isinstance(result, NotFound) for result in results)
    await gone(bench, session, task)
