"""When keys go by themselves: the hot record first, a minute after its session; all else of it long after that."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from hector.errors import LeaseLost
from hector.stores.base import Idempotency
from hector.stores.redis import RedisStore
from hector.stores.redis.records import SETTLED
from hector.testing.bench import LEASE, MAX_AGE, TTL, Bench, done, nonce, pieces
from hector.testing.contract.session_keys import new
from hector.testing.contract.staging import ended
from tests.contract.redis.engine import Engine

MINUTE = 60_000
DAY = 86_400_000
SLACK = 10_000
"""For a slow machine: the engine counts on while a test runs."""


async def settled(engine: Engine, session_id: str, *, hot: int, rest: int) -> None:
    """Every key of the session has the expiry that it should have."""
    for key in await engine.keys(session_id):
        expected = hot if key == engine.hot(session_id) else MINUTE if key.endswith(":wake") else rest
        left = await engine.left(key)
        assert expected - SLACK < left <= expected, f"{key} has {left} ms left, not {expected}"


async def kept(engine: Engine, session_id: str) -> list[str]:
    """All that may not go before the hot record."""
    return [key for key in (await engine.keys(session_id))[1:] if not key.endswith(":wake")]


async def test_the_hot_record_slides_and_nothing_else_does(redis: Bench, engine: Engine) -> None:
    session = await redis.session(metadata={"a": 1})
    await settled(engine, session.id, hot=TTL + MINUTE, rest=MAX_AGE + DAY)
    task = redis.task(session)
    await redis.store.submit(task, nonce=nonce(), idempotency=Idempotency("key", "f"))
    lease = await redis.claim(task)
    lease = await redis.store.append_events(lease, pieces(1, 3), extend=LEASE)
    await redis.ended(lease, done(3))
    assert {key.removeprefix(engine.hot(session.id)).split(":")[1] for key in (await engine.keys(session.id))[1:]} == {
        "task", "log", "tasks", "turns", "keys", "wake",
    }  # fmt: skip
    await settled(engine, session.id, hot=TTL + MINUTE, rest=MAX_AGE + DAY)
    # Half a minute later the session is used again. What was written before is not renewed, and need not be.
    redis.clock.advance(seconds=30)
    await redis.turn(session)
    assert await engine.left(engine.hot(session.id)) > TTL + MINUTE - SLACK
    for key in await kept(engine, session.id):
        assert await engine.left(key) >= await engine.left(engine.hot(session.id)), key


async def test_the_last_turn_before_the_last_expiry_makes_the_hot_record_go_with_it(
    redis: Bench, engine: Engine
) -> None:
    session = await redis.session()
    while redis.clock.now + TTL < session.last_expiry:
        redis.clock.advance(seconds=50)
        await redis.turn(session)
    left = session.last_expiry - redis.clock.now + MINUTE
    assert left - SLACK < await engine.left(engine.hot(session.id)) <= left


async def test_a_running_turn_keeps_everything_even_days_beyond_the_last_expiry(redis: Bench, engine: Engine) -> None:
    session = await redis.session()
    earlier = await redis.turn(session)
    lease = await redis.claimed(session)
    for number in range(1, 5):
        # As if the worker had renewed its lease all the time.
        lease = await redis.store.append_events(lease, pieces(number, number), extend=3 * DAY)
        redis.clock.now = lease.until - 1
        hot = await engine.left(engine.hot(session.id))
        assert hot > 3 * DAY + MINUTE - SLACK
        for key in await kept(engine, session.id):
            assert await engine.left(key) >= hot, key
    assert await redis.store.read_task(redis.principal, earlier.id) == earlier
    assert await redis.numbers(lease.task_id) == [1, 2, 3, 4]


async def test_a_line_keeps_its_session_and_a_longer_ttl_does(redis: Bench, engine: Engine) -> None:
    session = await redis.session()
    redis.clock.advance(seconds=50)
    task = await redis.submitted(session)
    assert await engine.left(engine.hot(session.id)) <= TTL + MINUTE
    await redis.store.line_up(redis.principal, task.id, most=1)
    assert await engine.left(engine.hot(session.id)) > TTL + MINUTE - SLACK
    await redis.store.update_session(redis.principal, session.id, ttl=3 * TTL)
    assert await engine.left(engine.hot(session.id)) > 3 * TTL + MINUTE - SLACK
    await redis.store.update_session(redis.principal, session.id, ttl=1_000)
    assert await engine.left(engine.hot(session.id)) <= 1_000 + MINUTE


async def test_what_is_staged_goes_within_a_day_unless_its_session_comes(redis: Bench, engine: Engine) -> None:
    session = replace(new(redis), turns=3)
    await redis.store.stage_turns(session, [ended(session, turn) for turn in (1, 2, 3)])
    await settled(engine, session.id, hot=0, rest=DAY)
    await redis.store.create_session(session)
    await settled(engine, session.id, hot=TTL + MINUTE, rest=MAX_AGE + DAY)


async def test_listings_and_keys_live_as_long_as_the_session_can(redis: Bench, engine: Engine) -> None:
    await redis.store.create_session(new(redis), idempotency=Idempotency("key", "f"))
    long = replace(new(redis), last_expiry=redis.clock.now + 10 * MAX_AGE)
    await redis.store.create_session(long)
    await redis.turn(long)
    others = [key for key in await engine.keys() if "{" not in key or "{all}" in key]
    assert {key.split(":")[1] for key in others} == {"owner", "key", "{all}"}
    for key in others:
        longest = MAX_AGE if ":key:" in key else 10 * MAX_AGE
        left = await engine.left(key)
        assert longest + DAY - SLACK < left <= longest + DAY, key


async def test_a_deleted_session_leaves_nothing_but_a_wake_up_call_for_a_minute(redis: Bench, engine: Engine) -> None:
    session, other = new(redis), await redis.session()
    before = await engine.keys()
    await redis.store.create_session(session, idempotency=Idempotency("key", "f"))
    for _ in range(3):
        lease = await redis.claimed(session)
        await redis.ended(await redis.store.append_events(lease, pieces(1, 2), extend=LEASE), done(2))
    await redis.store.delete_session(redis.principal, session.id)
    left = set(await engine.keys()) - set(before)
    assert left <= {f"{engine.hot(session.id)}:wake"}
    for key in left:
        assert await engine.left(key) <= MINUTE
    assert (await redis.store.list_sessions(redis.principal)).items == [other]


@pytest.mark.parametrize("gone", [False, True], ids=["expired", "hot record gone"])
async def test_the_clean_up_erases_what_expired_sessions_have_left(redis: Bench, engine: Engine, gone: bool) -> None:
    expired, alive = await redis.session(), await redis.session()
    for _ in range(3):
        await redis.turn(expired)
    turn = await redis.turn(alive)
    assert await redis.store.clean_up() == 0
    redis.clock.advance(seconds=TTL / 1000 - 1)
    kept = await redis.turn(alive)
    redis.clock.advance(seconds=1)
    if gone:
        await engine.client.delete(engine.hot(expired.id))
    else:
        assert await redis.store.clean_up() == 0, "those who followed its last turn may be told its end for a minute"
        redis.clock.advance(seconds=MINUTE / 1000 - 5)
        kept_on = await redis.turn(alive)
        assert await redis.store.clean_up() == 0
        redis.clock.advance(seconds=5)
    assert await redis.store.clean_up() == 1
    assert await redis.store.clean_up() == 0
    assert [key for key in await engine.keys(expired.id) if not key.endswith(":wake")] == []
    assert expired.id not in str(await engine.client.zrange(f"{engine.prefix}:{{all}}:expiry", 0, -1))
    turns = [turn, kept] if gone else [turn, kept, kept_on]
    assert await redis.store.read_history(redis.principal, alive.id, limit=5) == turns
    redis.clock.now = alive.last_expiry + MINUTE
    assert await redis.store.clean_up() == 1
    assert [key for key in await engine.keys() if not key.endswith(":wake")] == []


async def test_a_clean_up_that_is_on_its_way_leaves_what_is_staged_meanwhile(
    redis: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    expired = await redis.session()
    await redis.turn(expired)
    redis.clock.advance(seconds=(TTL + MINUTE) / 1000)
    again = replace(new(redis), id=expired.id, turns=2)
    turns = [ended(again, turn) for turn in (1, 2)]
    other = redis.another()
    assert isinstance(other, RedisStore)
    erase, met = other._erase, []

    async def late(session_id: str, listing: str) -> None:
        met.append(session_id)
        await redis.store.unstage(again)
        await redis.store.stage_turns(again, turns[:1])
        await erase(session_id, listing)

    monkeypatch.setattr(other, "_erase", late)
    await other.clean_up()
    assert met == [expired.id]
    await redis.store.stage_turns(again, turns[1:])
    assert await redis.store.create_session(again) == again
    assert await redis.store.read_history(redis.principal, again.id, limit=5) == [turn.task for turn in turns]
    redis.clock.advance(seconds=(TTL + MINUTE) / 1000)
    assert await redis.another().clean_up() == 1, "what was staged is cleaned up like all else"


async def test_a_clean_up_in_a_cluster(everywhere: Bench) -> None:
    sessions = [await everywhere.session(ttl=1000) for _ in range(5)]
    alive = await everywhere.session(ttl=2 * MINUTE)
    for session in sessions:
        await everywhere.turn(session)
    everywhere.clock.advance(seconds=1)
    assert await everywhere.store.clean_up() == 0
    everywhere.clock.advance(seconds=MINUTE / 1000)
    assert await everywhere.store.clean_up() == 5
    assert (await everywhere.store.list_every_session()).items == [alive]


async def test_erasing_a_long_session_is_done_in_steps(redis: Bench, engine: Engine) -> None:
    session = replace(new(redis), turns=1_200)
    turns = [ended(session, turn) for turn in range(1, 1_201)]
    await redis.store.stage_turns(session, turns)
    await redis.store.create_session(session)
    # A worker that writes meanwhile brings nothing back.
    lease = await redis.claimed(session)

    async def write() -> None:
        other = redis.another()
        for number in range(1, 100_000):
            await other.append_events(lease, pieces(number, number), extend=LEASE)

    writing = asyncio.create_task(write())
    await asyncio.sleep(0.05)
    await redis.store.delete_session(redis.principal, session.id)
    with pytest.raises(LeaseLost):
        await writing
    assert [key for key in await engine.keys(session.id) if not key.endswith(":wake")] == []


async def test_listings_drop_what_is_gone_and_keep_what_may_be_coming(redis: Bench, engine: Engine) -> None:
    alive = await redis.session()
    listing = next(key for key in await engine.keys() if ":owner:" in key)
    await engine.client.zadd(listing, {"long-gone": redis.clock.now - SETTLED, "coming": redis.clock.now})
    assert (await redis.store.list_sessions(redis.principal)).items == [alive]
    assert set(await engine.client.zrange(listing, 0, -1)) == {alive.id, "coming"}


async def test_a_session_that_a_crash_left_out_of_its_listing_is_put_back_by_its_next_turn(everywhere: Bench) -> None:
    session = await everywhere.session()
    store = everywhere.store
    listing = store._keys.owner(everywhere.principal)  # type: ignore[attr-defined]
    await store._connection.call("DEL", listing)  # type: ignore[attr-defined]
    assert (await store.list_sessions(everywhere.principal)).items == []
    await everywhere.turn(session)
    assert [found.id for found in (await store.list_sessions(everywhere.principal)).items] == [session.id]


async def test_many_sessions_of_the_same_millisecond_are_listed_once_each(redis: Bench) -> None:
    ids = {(await redis.session()).id for _ in range(30)}
    seen: list[str] = []
    cursor = None
    while True:
        page = await redis.store.list_sessions(redis.principal, cursor=cursor, limit=3)
        seen += [session.id for session in page.items]
        if (cursor := page.next_cursor) is None:
            break
    assert (len(seen), set(seen)) == (30, ids)


async def test_an_ended_turn_takes_no_more_room_than_it_needs(redis: Bench, engine: Engine) -> None:
    lease = await redis.claimed(await redis.session())
    lease = await redis.store.append_events(lease, pieces(1, 20), extend=LEASE)
    [log] = [key for key in await engine.keys(lease.session.id) if ":log:" in key]
    assert await engine.client.memory_usage(log) > 4_000
    left = await engine.left(log)
    await redis.ended(lease, done(20))
    assert await engine.client.memory_usage(log) < 1_500
    assert left - SLACK < await engine.left(log) <= left
    assert await redis.numbers(lease.task_id) == list(range(1, 21))
