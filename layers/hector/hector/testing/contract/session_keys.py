"""create_session with an idempotency key: one key, one session, for as long as that session lasts."""

from __future__ import annotations

import asyncio

import pytest

from hector.errors import IdempotencyKeyReused, NotFound
from hector.model import Principal, Session, new_session_id
from hector.stores.base import Idempotency
from hector.testing.bench import MAX_AGE, TTL, Bench

KEY = Idempotency("key", "fingerprint")


def new(bench: Bench, *, ttl: int = TTL, owner: Principal | None = None) -> Session:
    now = bench.clock.now
    return Session(
        id=new_session_id(),
        agent_id="agent",
        principal=owner or bench.principal,
        created_at=now,
        ttl=ttl,
        expires_at=now + ttl,
        last_expiry=now + MAX_AGE,
        last_activity_at=now,
        metadata={"a": 1},
    )


async def test_the_key_gives_back_the_first_session_as_it_is_now(bench: Bench) -> None:
    first = new(bench)
    assert await bench.store.create_session(first, idempotency=KEY) == first
    await bench.turn(first)
    bench.clock.advance(seconds=1)
    again = await bench.another().create_session(new(bench), idempotency=KEY)
    assert (again.id, again.turns, again.metadata) == (first.id, 1, {"a": 1})
    assert (await bench.store.list_sessions(bench.principal)).items == [again]


async def test_the_same_call_again_is_recognised(bench: Bench) -> None:
    session = new(bench)
    for _ in range(2):
        assert await bench.store.create_session(session, idempotency=KEY) == session


async def test_another_body_is_refused(bench: Bench) -> None:
    first = await bench.store.create_session(new(bench), idempotency=KEY)
    with pytest.raises(IdempotencyKeyReused):
        await bench.store.create_session(new(bench), idempotency=Idempotency("key", "other"))
    other = await bench.store.create_session(new(bench), idempotency=Idempotency("other", "other"))
    assert other.id != first.id


async def test_ten_at_once_make_one_session(bench: Bench) -> None:
    stores = [bench.another() for _ in range(10)]
    made = await asyncio.gather(*(store.create_session(new(bench), idempotency=KEY) for store in stores))
    assert len({session.id for session in made}) == 1
    assert (await bench.store.list_sessions(bench.principal)).items == [made[0]]


async def test_everybody_has_keys_of_their_own(bench: Bench) -> None:
    mine = await bench.store.create_session(new(bench), idempotency=KEY)
    for owner in (Principal("stranger"), bench.principal._replace(tenant="other")):
        theirs = await bench.store.create_session(new(bench, owner=owner), idempotency=Idempotency("key", "other"))
        assert (theirs.id != mine.id, theirs.principal) == (True, owner)


@pytest.mark.parametrize("fingerprint", ["fingerprint", "other"])
async def test_a_key_is_free_again_when_its_session_has_ended(bench: Bench, fingerprint: str) -> None:
    first = await bench.store.create_session(new(bench), idempotency=KEY)
    task = await bench.turn(first)
    await bench.store.delete_session(bench.principal, first.id)
    second = await bench.store.create_session(new(bench), idempotency=Idempotency("key", fingerprint))
    assert (second.id != first.id, second.turns) == (True, 0)
    with pytest.raises(NotFound):
        await bench.store.read_task(bench.principal, task.id)


@pytest.mark.parametrize("fingerprint", ["fingerprint", "other"])
async def test_a_key_expires_with_its_session(bench: Bench, fingerprint: str) -> None:
    first = await bench.store.create_session(new(bench), idempotency=KEY)
    bench.clock.now = first.expires_at - 1
    assert (await bench.store.create_session(new(bench), idempotency=KEY)).id == first.id
    bench.clock.now = first.expires_at
    second = await bench.store.create_session(new(bench), idempotency=Idempotency("key", fingerprint))
    assert second.id != first.id
    assert (await bench.store.list_sessions(bench.principal)).items == [second]


async def test_a_key_lives_as_long_as_turns_keep_its_session_alive(bench: Bench) -> None:
    first = await bench.store.create_session(new(bench), idempotency=KEY)
    bench.clock.now = first.expires_at - 10
    await bench.turn(first)
    bench.clock.advance(seconds=TTL / 2000)
    assert (await bench.store.create_session(new(bench), idempotency=KEY)).id == first.id
