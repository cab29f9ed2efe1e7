"""create_session, read_session, list_sessions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hector.errors import InvalidRequest, NotFound
from hector.model import Principal, new_session_id
from hector.testing.bench import TTL, Bench

LARGE = {"notes": ["å" * 1000] * 50}


@pytest.mark.parametrize(
    "metadata", [{}, {"\0": "a\0b"}, {"ключ": "値 🎈", "": None, "n": [1, 2.5, {"deep": True}]}, LARGE]
)
async def test_reads_back_every_field(bench: Bench, metadata: dict[str, Any]) -> None:
    session = await bench.session(metadata=metadata, agent_id="agent-ä")
    assert await bench.store.read_session(bench.principal, session.id) == session
    assert await bench.another().read_session(bench.principal, session.id) == session


async def test_creating_again_changes_nothing(bench: Bench) -> None:
    session = await bench.session(metadata={"a": 1})
    await bench.turn(session)
    before = await bench.store.read_session(bench.principal, session.id)
    await bench.store.create_session(session)
    assert await bench.store.read_session(bench.principal, session.id) == before
    assert before.turns == 1


async def test_unknown_session(bench: Bench) -> None:
    with pytest.raises(NotFound):
        await bench.store.read_session(bench.principal, new_session_id())


@pytest.mark.parametrize(
    "principal",
    [Principal("", ""), Principal("\0", "a\0b"), Principal('quote"and,comma', "\\"), Principal("ä" * 200, "tenant")],
)
async def test_any_name_can_own_a_session(bench: Bench, principal: Principal) -> None:
    bench.principal = principal
    session = await bench.session()
    assert await bench.store.read_session(principal, session.id) == session


async def test_an_open_turn_is_shown(bench: Bench) -> None:
    session = await bench.session()
    lease = await bench.claimed(session)
    shown = await bench.store.read_session(bench.principal, session.id)
    assert shown.open_task_id == lease.task_id
    assert (await bench.store.list_sessions(bench.principal)).items == [shown]
    await bench.ended(lease)
    assert (await bench.store.read_session(bench.principal, session.id)).open_task_id is None


async def test_a_lost_turn_is_not_shown_as_open(bench: Bench) -> None:
    session = await bench.session()
    lease = await bench.claimed(session)
    bench.clock.now = lease.until
    assert (await bench.store.read_session(bench.principal, session.id)).open_task_id is None


async def test_lists_newest_activity_first(bench: Bench) -> None:
    sessions = []
    for _ in range(3):
        bench.clock.advance(seconds=1)
        sessions.append(await bench.session(metadata={"a": 1}))
    bench.clock.advance(seconds=1)
    await bench.turn(sessions[1])
    listed = (await bench.store.list_sessions(bench.principal)).items
    assert [session.id for session in listed] == [sessions[1].id, sessions[2].id, sessions[0].id]
    assert listed[0] == await bench.store.read_session(bench.principal, sessions[1].id)


async def test_lists_in_pages_without_missing_or_repeating(bench: Bench) -> None:
    ids = {(await bench.session()).id for _ in range(5)}
    seen, cursor = [], None
    for size in (2, 2, 1):
        page = await bench.store.list_sessions(bench.principal, cursor=cursor, limit=2)
        assert len(page.items) == size
        seen += [session.id for session in page.items]
        cursor = page.next_cursor
    assert cursor is None
    assert len(seen) == 5
    assert set(seen) == ids


async def test_a_full_last_page_has_no_cursor(bench: Bench) -> None:
    for _ in range(2):
        await bench.session()
    page = await bench.store.list_sessions(bench.principal, limit=2)
    assert len(page.items) == 2
    assert page.next_cursor is None


async def test_pages_are_full_although_sessions_have_expired(bench: Bench) -> None:
    old = [await bench.session() for _ in range(2)]
    for _ in range(4):
        bench.clock.advance(seconds=1)
        await bench.session(ttl=5)
    bench.clock.advance(seconds=1)
    new = await bench.session()
    page = await bench.store.list_sessions(bench.principal, limit=2)
    assert page.items[0] == new
    assert page.items[1] in old
    rest = await bench.store.list_sessions(bench.principal, limit=2, cursor=page.next_cursor)
    assert [page.items[1].id, rest.items[0].id] == sorted((session.id for session in old), reverse=True)
    assert (len(rest.items), rest.next_cursor) == (1, None)


async def test_lists_by_agent(bench: Bench) -> None:
    for agent_id in ("a", "b", "a"):
        bench.clock.advance(seconds=1)
        await bench.session(agent_id=agent_id)
    page = await bench.store.list_sessions(bench.principal, agent_id="a", limit=1)
    assert [session.agent_id for session in page.items] == ["a"]
    rest = await bench.store.list_sessions(bench.principal, agent_id="a", limit=1, cursor=page.next_cursor)
    assert [session.agent_id for session in rest.items] == ["a"]
    assert rest.items != page.items
    assert rest.next_cursor is None
    for nobody in ("c", "", "\0", "a\0", "ä" * 5000):
        assert (await bench.store.list_sessions(bench.principal, agent_id=nobody)).items == []


@pytest.mark.parametrize("cursor", ["", "x", "²", "1.", "000000000000001", "000000000000001.ä", "9" * 5000])
async def test_refuses_a_cursor_that_is_not_ours(bench: Bench, cursor: str) -> None:
    await bench.session()
    with pytest.raises(InvalidRequest) as refused:
        await bench.store.list_sessions(bench.principal, cursor=cursor)
    assert refused.value.field == "cursor"


async def test_the_clock_of_activity_is_the_start_of_a_turn(bench: Bench) -> None:
    session = await bench.session()
    lease = await bench.claimed(session)
    started = bench.clock.now
    bench.clock.advance(seconds=5)
    await bench.ended(lease)
    after = await bench.store.read_session(bench.principal, session.id)
    assert after == replace(session, last_activity_at=started, turns=1, expires_at=bench.clock.now + TTL)
