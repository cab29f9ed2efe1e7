"""An answer that is lost after its write took effect: whoever sends it again recognises it as their own.

Once as the store does by itself, within a call; and once as a caller does, after a call that failed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import RedisCluster

from hector.errors import IdempotencyKeyReused, LeaseLost, NotFound, StoreUnavailable, TaskNotCancelable
from hector.model import Summary, TaskState
from hector.stores.base import Idempotency, Outcome
from hector.stores.redis import connection
from hector.testing.bench import DONE, LEASE, TTL, Bench, nonce, pieces
from hector.testing.contract.session_keys import new
from tests.contract.redis.wire import Proxy

Verb = Callable[[], Awaitable[object]]
Again = Callable[[Verb], Awaitable[Any]]
KEY = Idempotency("key", "fingerprint")
GAVE_UP = Outcome(TaskState.FAILED, 0)


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PATIENCE_SECONDS", 0)


@pytest.fixture(params=["the store's retry", "the caller's retry"])
def again(request: pytest.FixtureRequest, proxy: Proxy) -> Again:
    """Calls a verb whose answer gets lost, until it has its answer."""

    async def retried_by_store(verb: Verb) -> object:
        answer = await verb()
        assert proxy.met == ["lose"]
        return answer

    async def retried_by_caller(verb: Verb) -> object:
        with pytest.raises(StoreUnavailable):
            await verb()
        assert proxy.met == ["lose"]
        return await verb()

    if request.param == "the store's retry":
        return retried_by_store
    request.getfixturevalue("no_patience")
    return retried_by_caller


async def test_submit(again: Again, proxy: Proxy, faulty: Bench) -> None:
    session = await faulty.session()
    task, mine = faulty.task(session), nonce()
    proxy.lose_answer("submit")
    submitted = await again(lambda: faulty.store.submit(task, nonce=mine, idempotency=KEY))
    assert (submitted.task, submitted.created) == (task, True)
    assert (await faulty.store.list_tasks(faulty.principal, session.id)).items == [task]


async def test_discard(again: Again, proxy: Proxy, faulty: Bench) -> None:
    session, mine = await faulty.session(), nonce()
    task = faulty.task(session)
    await faulty.store.submit(task, nonce=mine, idempotency=KEY)
    proxy.lose_answer("discard")
    await again(lambda: faulty.store.discard(task, nonce=mine))
    assert (await faulty.store.submit(faulty.task(session), nonce=nonce(), idempotency=KEY)).created


async def test_claim(again: Again, proxy: Proxy, faulty: Bench) -> None:
    task, mine = await faulty.submitted(await faulty.session()), nonce()
    proxy.lose_answer("claim")
    lease = await again(lambda: faulty.claim(task, by=mine))
    assert lease.fence == 1
    assert (await faulty.ended(lease)).turn == 1


async def test_claiming_the_next_in_line(again: Again, proxy: Proxy, faulty: Bench) -> None:
    session, mine = await faulty.session(), nonce()
    first, second = await faulty.submitted(session), await faulty.submitted(session)
    for task in (first, second):
        await faulty.store.line_up(faulty.principal, task.id, most=5)
    proxy.lose_answer("claim")
    lease = await again(lambda: faulty.claim(first, by=mine))
    assert lease.session.waiting == (second.id,)


async def test_taking_over(again: Again, proxy: Proxy, faulty: Bench) -> None:
    task, mine = await faulty.submitted(await faulty.session()), nonce()
    old = await faulty.claim(task)
    faulty.clock.now = old.until
    proxy.lose_answer("claim")
    lease = await again(lambda: faulty.claim(task, by=mine))
    assert lease.fence == old.fence + 1
    with pytest.raises(LeaseLost):
        await faulty.store.commit(old, DONE, nonce=nonce())


async def test_line_up(again: Again, proxy: Proxy, faulty: Bench) -> None:
    session = await faulty.session()
    task = await faulty.submitted(session)
    proxy.lose_answer("line_up")
    seen = await again(lambda: faulty.store.line_up(faulty.principal, task.id, most=1))
    assert seen.waiting == (task.id,)


async def test_leave_line(again: Again, proxy: Proxy, faulty: Bench) -> None:
    session, mine = await faulty.session(), nonce()
    task = await faulty.submitted(session)
    await faulty.store.line_up(faulty.principal, task.id, most=1)
    proxy.lose_answer("leave")
    left = await again(lambda: faulty.store.leave_line(faulty.principal, task.id, GAVE_UP, nonce=mine))
    assert left == await faulty.store.read_task(faulty.principal, task.id)
    assert left.state is TaskState.FAILED


async def test_append(again: Again, proxy: Proxy, faulty: Bench) -> None:
    lease = await faulty.claimed(await faulty.session())
    proxy.lose_answer("append")
    await again(lambda: faulty.store.append_events(lease, pieces(1, 3), extend=LEASE))
    await faulty.store.append_events(lease, pieces(4, 4), extend=LEASE)
    assert await faulty.numbers(lease.task_id) == [1, 2, 3, 4]


async def test_commit_and_release(again: Again, proxy: Proxy, faulty: Bench) -> None:
    lease, mine = await faulty.claimed(await faulty.session()), nonce()
    proxy.lose_answer("commit")
    task = await again(lambda: faulty.store.commit(lease, DONE, nonce=mine))
    assert (task.state, task.turn) == (DONE.state, 1)
    proxy.lose_answer("release")
    await again(lambda: faulty.store.release(lease))
    shown = await faulty.store.read_session(faulty.principal, lease.session.id)
    assert (shown.turns, shown.open_task_id) == (1, None)


async def test_release_to_somebody_else(again: Again, proxy: Proxy, faulty: Bench) -> None:
    lease = await faulty.claimed(await faulty.session())
    proxy.lose_answer("release")
    await again(lambda: faulty.store.release(lease, next_in_line=True))
    shown = await faulty.store.read_session(faulty.principal, lease.session.id)
    assert (shown.waiting, shown.open_task_id) == ((lease.task_id,), None)


async def test_a_release_that_comes_twice_does_not_end_the_next_turn(proxy: Proxy, faulty: Bench) -> None:
    session = await faulty.session()
    lease = await faulty.claimed(session)
    await faulty.store.commit(lease, DONE, nonce=nonce())
    await faulty.store.release(lease)
    following = await faulty.claimed(session)
    await faulty.store.release(lease)
    assert (await faulty.store.check_lease(following)).until == following.until


async def test_cancel(proxy: Proxy, faulty: Bench) -> None:
    task = await faulty.submitted(await faulty.session())
    proxy.lose_answer("leave")
    assert (await faulty.store.request_cancel(faulty.principal, task.id)).state is TaskState.CANCELED
    assert proxy.met == ["lose"]
    with pytest.raises(TaskNotCancelable):
        await faulty.store.request_cancel(faulty.principal, task.id)


async def test_update_session(again: Again, proxy: Proxy, faulty: Bench) -> None:
    session = await faulty.session()
    proxy.lose_answer("update")
    changed = await again(
        lambda: faulty.store.update_session(faulty.principal, session.id, ttl=TTL * 2, metadata={"a": 1})
    )
    assert changed == replace(session, ttl=TTL * 2, expires_at=faulty.clock.now + TTL * 2, metadata={"a": 1})


async def test_save_summary(again: Again, proxy: Proxy, faulty: Bench) -> None:
    lease = await faulty.claimed(await faulty.session())
    proxy.lose_answer("summarise")
    await again(lambda: faulty.store.save_summary(lease, Summary("so far", 3)))
    assert await faulty.store.read_summary(faulty.principal, lease.session.id) == Summary("so far", 3)


async def test_delete(proxy: Proxy, faulty: Bench) -> None:
    session = await faulty.session(metadata={"a": 1})
    await faulty.turn(session)
    proxy.lose_answer("delete")
    await faulty.store.delete_session(faulty.principal, session.id)
    assert proxy.met == ["lose"]
    with pytest.raises(NotFound):
        await faulty.store.read_session(faulty.principal, session.id)


@pytest.mark.parametrize("lost", ["register", "list", "SET", "create"])
async def test_create_session_with_a_key(again: Again, proxy: Proxy, faulty: Bench, lost: str) -> None:
    session = new(faulty)
    proxy.lose_answer(lost)
    assert await again(lambda: faulty.store.create_session(session, idempotency=KEY)) == session
    assert (await faulty.store.list_sessions(faulty.principal)).items == [session]


@pytest.mark.parametrize("lost", ["SET", "register", "list"])
async def test_a_crash_between_a_key_and_its_session_is_completed(
    no_patience: None, proxy: Proxy, faulty: Bench, lost: str
) -> None:
    first = new(faulty)
    proxy.lose_answer(lost)
    with pytest.raises(StoreUnavailable):
        await faulty.store.create_session(first, idempotency=KEY)
    assert (await faulty.store.list_sessions(faulty.principal)).items == []
    with pytest.raises(IdempotencyKeyReused):
        await faulty.store.create_session(new(faulty), idempotency=Idempotency("key", "other"))
    faulty.clock.advance(seconds=1)
    for _ in range(2):
        assert await faulty.store.create_session(new(faulty), idempotency=KEY) == first


@pytest.mark.parametrize("fault", ["reset", "stall"])
async def test_resets_and_answers_that_never_come(
    fault: str, proxy: Proxy, faulty: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "READ_TIMEOUT_SECONDS", 0.3)
    store = faulty.another()
    lease = await faulty.claimed(await faulty.session())
    getattr(proxy, fault)("append", times=2)
    await store.append_events(lease, pieces(1, 3), extend=LEASE)
    assert proxy.met == [fault, fault]
    assert await faulty.numbers(lease.task_id) == [1, 2, 3]


async def test_a_call_that_is_given_up_leaves_no_answer_for_the_next_one(proxy: Proxy, faulty: Bench) -> None:
    session = await faulty.session()
    proxy.stall("HMGET")
    reading = asyncio.create_task(faulty.store.read_session(faulty.principal, session.id))
    while not proxy.met:
        await asyncio.sleep(0.01)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    other = await faulty.session()
    assert (await faulty.store.read_session(faulty.principal, other.id)).id == other.id


async def test_an_engine_that_stays_away_is_a_sentence(
    proxy: Proxy, faulty: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await faulty.session()
    monkeypatch.setattr(connection, "PATIENCE_SECONDS", 0.3)
    proxy.reset("HMGET", times=1000)
    with pytest.raises(StoreUnavailable, match=r"redis://127.0.0.1:\d+ cannot be reached .*HECTOR_STORE"):
        await faulty.store.read_session(faulty.principal, session.id)
    assert len(proxy.met) > 1


async def test_connections_that_are_closed_under_calls(everywhere: Bench) -> None:
    """As the driver closes all of a cluster's when one call hears that the cluster is down; and as an engine does."""
    sessions = [await everywhere.session() for _ in range(10)]
    calls = [everywhere.store.read_session(everywhere.principal, session.id) for session in sessions * 20]
    reading = asyncio.gather(*calls)
    client = everywhere.store._connection.open()  # type: ignore[attr-defined]
    for _ in range(20):
        await (client.aclose() if isinstance(client, RedisCluster) else client.connection_pool.disconnect())
        await asyncio.sleep(random.uniform(0, 0.003))
    assert [found.id for found in await reading] == [session.id for session in sessions] * 20
