"""Answers that are lost at the wire after their COMMIT took effect, or that never come; and commits that never arrive.

A write is not applied twice, and is not mistaken for somebody else's: by the store's own retry, and by the caller's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest

from hector.errors import (
    IdempotencyKeyReused,
    LeaseLost,
    NotFound,
    SessionBusy,
    StoreUnavailable,
    TaskNotCancelable,
)
from hector.model import Principal, Summary, TaskState
from hector.stores.base import Idempotency, Outcome, Store
from hector.stores.sql import SQLStore, database
from hector.testing import Bench, ManualClock
from hector.testing.bench import DONE, LEASE, TTL, nonce, pieces
from hector.testing.contract.session_keys import new
from hector.testing.contract.staging import ended
from tests.contract.sql.proxy import Break, Proxy
from tests.postgres_server import PostgresServer

Verb = Callable[[], Awaitable[object]]
Again = Callable[..., Awaitable[None]]
KEY = Idempotency("key", "fingerprint")


@pytest.fixture
async def proxy(postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Proxy, str]]:
    monkeypatch.setattr(database, "ANSWER_SECONDS", 0.3)
    proxy = Proxy(postgres_server.port)
    async with proxy.listening() as port:
        yield proxy, postgres_server.url_of("hector", port=port)


class Line:
    """A bench whose store is behind the proxy; `other` is another machine's, with a good line."""

    def __init__(self, proxy: Proxy, bench: Bench, other: Store) -> None:
        self.proxy, self.bench, self.other = proxy, bench, other


@pytest.fixture
async def line(proxy: tuple[Proxy, str], postgres_server: PostgresServer) -> AsyncIterator[Line]:
    between, url = proxy
    clock = ManualClock()
    other = SQLStore(postgres_server.url, clock=clock)
    async with Bench(lambda clock: SQLStore(url, clock=clock), clock, Principal(nonce(), "tenant")) as bench:
        yield Line(between, bench, other)
    await other.aclose()


@pytest.fixture(params=["the store's retry", "the caller's retry"])
def again(request: pytest.FixtureRequest, line: Line, monkeypatch: pytest.MonkeyPatch) -> Again:
    async def retried(verb: Verb, how: Break, times: int = 2) -> None:
        if request.param == "the store's retry":
            line.proxy.break_next(how, times=times)
            await verb()
            assert line.proxy.broken == times
            return
        with monkeypatch.context() as patch:
            patch.setattr(database, "RETRY_SECONDS", 0)
            line.proxy.break_next(how)
            with pytest.raises(StoreUnavailable):
                await verb()
        assert line.proxy.broken == 1
        await verb()

    return retried


every_break = pytest.mark.parametrize("how", Break)


@every_break
async def test_submit(how: Break, again: Again, line: Line) -> None:
    bench, results = line.bench, []
    session = await bench.session()
    task, mine = bench.task(session), nonce()

    async def submit() -> None:
        results.append(await bench.store.submit(task, nonce=mine, idempotency=KEY))

    await again(submit, how)
    assert [(result.task, result.created) for result in results] == [(task, True)]
    assert (await bench.store.list_tasks(bench.principal, session.id)).items == [task]


async def test_a_key_that_another_took_meanwhile_is_not_mistaken_for_ones_own(line: Line) -> None:
    bench = line.bench
    session = await bench.session()
    mine, theirs = bench.task(session), bench.task(session)
    line.proxy.break_next(Break.BEFORE, meanwhile=lambda: line.other.submit(theirs, nonce=nonce(), idempotency=KEY))
    submitted = await bench.store.submit(mine, nonce=nonce(), idempotency=KEY)
    assert (submitted.task, submitted.created) == (theirs, False)
    assert (await bench.store.list_tasks(bench.principal, session.id)).items == [theirs]


@every_break
async def test_claim(how: Break, again: Again, line: Line) -> None:
    bench, results, mine = line.bench, [], nonce()
    task = await bench.submitted(await bench.session())

    async def claim() -> None:
        results.append(await bench.claim(task, by=mine))

    await again(claim, how)
    assert results[0].fence == 1
    assert (await bench.ended(results[0])).turn == 1


async def test_a_lease_that_another_took_meanwhile_is_not_mistaken_for_ones_own(line: Line) -> None:
    bench = line.bench
    task = await bench.submitted(await bench.session())
    taking = line.other.claim(bench.principal, task.session_id, task.id, lease=LEASE, nonce=nonce())
    line.proxy.break_next(Break.BEFORE, meanwhile=lambda: taking)
    with pytest.raises(SessionBusy):
        await bench.claim(task)


@every_break
async def test_append(how: Break, again: Again, line: Line) -> None:
    bench = line.bench
    lease = await bench.claimed(await bench.session())
    await bench.store.append_events(lease, pieces(1, 2), extend=LEASE)
    await again(lambda: bench.store.append_events(lease, pieces(3, 5), extend=LEASE), how)
    await bench.store.append_events(lease, pieces(6, 6), extend=LEASE)
    page = await bench.store.read_events(bench.principal, lease.task_id, after=0)
    assert page.events == pieces(1, 6)


async def test_a_batch_that_grew_before_it_was_sent_again(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the producer does, which goes on while the store is away."""
    bench = line.bench
    lease = await bench.claimed(await bench.session())
    with monkeypatch.context() as patch:
        patch.setattr(database, "RETRY_SECONDS", 0)
        line.proxy.break_next(Break.AFTER)
        with pytest.raises(StoreUnavailable):
            await bench.store.append_events(lease, pieces(1, 2), extend=LEASE)
    await bench.store.append_events(lease, pieces(1, 700), extend=LEASE)
    page = await bench.store.read_events(bench.principal, lease.task_id, after=0)
    assert page.events == pieces(1, 700)


async def test_a_batch_whose_worker_lost_its_lease_meanwhile_is_refused(line: Line) -> None:
    bench = line.bench
    lease = await bench.claimed(await bench.session())

    async def take_over() -> None:
        bench.clock.now = lease.until
        await line.other.claim(bench.principal, lease.session.id, lease.task_id, lease=LEASE, nonce=nonce())

    line.proxy.break_next(Break.BEFORE, meanwhile=take_over)
    with pytest.raises(LeaseLost):
        await bench.store.append_events(lease, pieces(1, 2), extend=LEASE)
    assert await bench.numbers(lease.task_id) == []


@every_break
async def test_commit_and_release(how: Break, again: Again, line: Line) -> None:
    bench, results, mine = line.bench, [], nonce()
    lease = await bench.claimed(await bench.session())

    async def commit() -> None:
        results.append(await bench.store.commit(lease, DONE, nonce=mine))

    await again(commit, how)
    assert (results[0].state, results[0].turn) == (DONE.state, 1)
    line.proxy.broken = 0
    # Sent again after it took effect, it finds nothing to give back, and commits nothing.
    await again(lambda: bench.store.release(lease), how, 2 if how is Break.BEFORE else 1)
    shown = await bench.store.read_session(bench.principal, lease.session.id)
    assert (shown.turns, shown.open_task_id) == (1, None)


@every_break
async def test_release_to_somebody_else(how: Break, again: Again, line: Line) -> None:
    bench = line.bench
    lease = await bench.claimed(await bench.session())
    await again(lambda: bench.store.release(lease, next_in_line=True), how, 2 if how is Break.BEFORE else 1)
    shown = await bench.store.read_session(bench.principal, lease.session.id)
    assert (shown.waiting, shown.open_task_id) == ((lease.task_id,), None)


@every_break
async def test_create_session_with_a_key(how: Break, again: Again, line: Line) -> None:
    bench, results = line.bench, []
    session = new(bench)

    async def create() -> None:
        results.append(await bench.store.create_session(session, idempotency=KEY))

    await again(create, how)
    assert results == [session]
    assert (await bench.store.list_sessions(bench.principal)).items == [session]
    with pytest.raises(IdempotencyKeyReused):
        await bench.store.create_session(new(bench), idempotency=Idempotency("key", "other"))


@every_break
async def test_update_session(how: Break, again: Again, line: Line) -> None:
    bench = line.bench
    session = await bench.session()
    await again(lambda: bench.store.update_session(bench.principal, session.id, ttl=TTL * 2, metadata={"a": 1}), how)
    expected = replace(session, ttl=TTL * 2, expires_at=bench.clock.now + TTL * 2, metadata={"a": 1})
    assert await bench.store.read_session(bench.principal, session.id) == expected


@every_break
async def test_delete_session(how: Break, line: Line) -> None:
    bench = line.bench
    session = await bench.session()
    task = await bench.turn(session)
    line.proxy.break_next(how)
    await bench.store.delete_session(bench.principal, session.id)
    assert line.proxy.broken == 1
    with pytest.raises(NotFound):
        await bench.store.read_task(bench.principal, task.id)
    with pytest.raises(NotFound):
        await bench.store.delete_session(bench.principal, session.id)


@every_break
async def test_cancel_a_task_that_waits(how: Break, line: Line) -> None:
    bench = line.bench
    task = await bench.submitted(await bench.session())
    line.proxy.break_next(how)
    assert (await bench.store.request_cancel(bench.principal, task.id)).state is TaskState.CANCELED
    with pytest.raises(TaskNotCancelable):
        await bench.store.request_cancel(bench.principal, task.id)


@every_break
async def test_lining_up_and_leaving(how: Break, again: Again, line: Line) -> None:
    bench = line.bench
    session = await bench.session()
    first, second = await bench.submitted(session), await bench.submitted(session)
    await bench.store.line_up(bench.principal, first.id, most=2)
    await again(lambda: bench.store.line_up(bench.principal, second.id, most=2), how)
    assert (await bench.store.read_session(bench.principal, session.id)).waiting == (first.id, second.id)
    line.proxy.broken = 0
    outcome = Outcome(TaskState.FAILED, 0)
    mine = nonce()
    await again(lambda: bench.store.leave_line(bench.principal, first.id, outcome, nonce=mine), how)
    assert (await bench.store.read_session(bench.principal, session.id)).waiting == (second.id,)
    assert (await bench.store.read_task(bench.principal, first.id)).state is TaskState.FAILED


@every_break
async def test_discard(how: Break, again: Again, line: Line) -> None:
    bench, mine = line.bench, nonce()
    session = await bench.session()
    task = bench.task(session)
    await bench.store.submit(task, nonce=mine, idempotency=KEY)
    await again(lambda: bench.store.discard(task, nonce=mine), how)
    assert (await bench.store.submit(bench.task(session), nonce=nonce(), idempotency=KEY)).created


@every_break
async def test_summaries_and_staged_turns(how: Break, again: Again, line: Line) -> None:
    bench = line.bench
    session = replace(new(bench), turns=2)
    turns = [ended(session, 1), ended(session, 2)]
    await again(lambda: bench.store.stage_turns(session, turns), how)
    await bench.store.create_session(session)
    history = await bench.store.read_history(bench.principal, session.id, limit=9)
    assert history == [turn.task for turn in turns]
    assert await bench.numbers(history[0].id) == [1]
    lease = await bench.claimed(session)
    line.proxy.broken = 0
    await again(lambda: bench.store.save_summary(lease, Summary("so far", 2)), how)
    assert await bench.store.read_summary(bench.principal, session.id) == Summary("so far", 2)


async def test_a_caller_that_is_canceled_leaves_the_store_usable(line: Line) -> None:
    """Its write takes effect, or not; no connection is left in the middle of a transaction."""
    bench = line.bench
    session = await bench.session()
    for _ in range(30):
        writing = asyncio.create_task(bench.store.update_session(bench.principal, session.id, metadata={"a": 1}))
        await asyncio.sleep(0.001)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
    assert (await bench.turn(session)).turn == 1
