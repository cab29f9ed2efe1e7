"""update_session: what is given is changed, and nothing else; a turn that runs goes on."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from hector.errors import NotFound
from hector.testing.bench import LEASE, MAX_AGE, TTL, Bench, pieces

LARGE = {"notes": ["å" * 1000] * 10}


@pytest.mark.parametrize("before", [{}, {"a": 1, "b": 2}])
@pytest.mark.parametrize("after", [{}, {"b": 3}, LARGE])
async def test_metadata_is_replaced_as_a_whole(bench: Bench, before: dict[str, Any], after: dict[str, Any]) -> None:
    session = await bench.session(metadata=before)
    await bench.another().read_session(bench.principal, session.id)
    bench.clock.advance(seconds=1)
    changed = await bench.store.update_session(bench.principal, session.id, metadata=after)
    assert changed == replace(session, metadata=after), "and nothing else: no expiry, no activity"
    for store in (bench.store, bench.another()):
        assert await store.read_session(bench.principal, session.id) == changed
        assert (await store.list_sessions(bench.principal)).items == [changed]
    assert (await bench.claimed(session)).session.metadata == after


async def test_nothing_given_changes_nothing(bench: Bench) -> None:
    session = await bench.session(metadata={"a": 1})
    assert await bench.store.update_session(bench.principal, session.id) == session


@pytest.mark.parametrize("ttl", [1_000, TTL * 2])
async def test_a_ttl_counts_from_now_and_slides_with_every_turn(bench: Bench, ttl: int) -> None:
    session = await bench.session(metadata={"a": 1})
    bench.clock.advance(seconds=10)
    changed = await bench.store.update_session(bench.principal, session.id, ttl=ttl)
    assert changed == replace(session, ttl=ttl, expires_at=bench.clock.now + ttl)
    await bench.turn(session)
    shown = await bench.store.read_session(bench.principal, session.id)
    assert (shown.ttl, shown.expires_at) == (ttl, bench.clock.now + ttl)
    bench.clock.advance(seconds=ttl / 1000)
    with pytest.raises(NotFound):
        await bench.store.update_session(bench.principal, session.id, ttl=TTL)


async def test_a_ttl_never_leads_past_the_last_expiry(bench: Bench) -> None:
    session = await bench.session()
    changed = await bench.store.update_session(bench.principal, session.id, ttl=MAX_AGE * 2)
    assert changed.expires_at == changed.last_expiry == session.last_expiry


async def test_a_running_turn_is_not_disturbed(bench: Bench) -> None:
    session = await bench.session()
    lease = await bench.claimed(session)
    changed = await bench.store.update_session(bench.principal, session.id, ttl=1_000, metadata={"new": True})
    assert (changed.open_task_id, changed.expires_at) == (lease.task_id, lease.until)
    bench.clock.advance(seconds=10)
    lease = await bench.store.append_events(lease, pieces(1, 2), extend=LEASE)
    assert lease.session.expires_at == lease.until
    task = await bench.ended(lease)
    shown = await bench.store.read_session(bench.principal, session.id)
    assert (task.turn, shown.turns, shown.metadata) == (1, 1, {"new": True})
    assert shown.expires_at == bench.clock.now + 1_000


async def test_changes_beside_turns_lose_nothing(bench: Bench) -> None:
    session = await bench.session()

    async def turns() -> None:
        for _ in range(5):
            await bench.turn(session)

    async def changes() -> None:
        for number in range(5):
            await bench.store.update_session(bench.principal, session.id, ttl=TTL + number, metadata={"n": number})

    await asyncio.gather(turns(), changes())
    shown = await bench.store.read_session(bench.principal, session.id)
    assert (shown.turns, shown.ttl, shown.metadata) == (5, TTL + 4, {"n": 4})
    history = await bench.store.read_history(bench.principal, session.id, limit=10)
    assert [task.turn for task in history] == [1, 2, 3, 4, 5]


async def test_an_ended_session_is_not_brought_back(bench: Bench) -> None:
    session = await bench.session()
    await bench.store.delete_session(bench.principal, session.id)
    with pytest.raises(NotFound):
        await bench.store.update_session(bench.principal, session.id, ttl=TTL, metadata={"a": 1})
    assert (await bench.store.list_sessions(bench.principal)).items == []
