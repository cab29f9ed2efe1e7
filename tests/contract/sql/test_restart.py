"""PostgreSQL is killed and started again while an answer is being made, followed from another process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from hector.errors import StoreUnavailable
from hector.model import Event, EventKind, Task, TaskState
from hector.services import Services
from hector.stores.sql import SQLStore, database
from tests.postgres_server import PostgresServer
from tests.support import ALICE, ask, events_of, new_session, said, services_with


@pytest.fixture
async def here(postgres_server: PostgresServer) -> AsyncIterator[Services]:
    store = SQLStore(postgres_server.url)
    yield services_with(store)
    await store.aclose()


@pytest.fixture
async def elsewhere(postgres_server: PostgresServer) -> AsyncIterator[Services]:
    store = SQLStore(postgres_server.url)
    yield services_with(store)
    await store.aclose()


def restart(server: PostgresServer, down_seconds: float = 0.0) -> None:
    """As after a crash of the engine."""
    server.stop("immediate")
    time.sleep(down_seconds)
    server.start()


async def follow(services: Services, task: Task, seen: list[Event]) -> None:
    """A client that comes back with its last event's number, whenever its stream breaks."""
    while not seen or seen[-1].state is None or not seen[-1].state.terminal:
        try:
            seen += await events_of(services, task, after=seen[-1].number if seen else 0)
        except StoreUnavailable:
            await asyncio.sleep(0.1)


async def test_producer_and_follower_go_on_after_a_short_restart(
    here: Services, elsewhere: Services, postgres_server: PostgresServer
) -> None:
    session_id = await new_session(here)
    task = await here.turns.start(ALICE, session_id, said("count to 60 every 50 ms"))
    following = asyncio.create_task(events_of(elsewhere, task))
    live = asyncio.create_task(events_of(here, task))
    await asyncio.sleep(1)
    await asyncio.to_thread(restart, postgres_server)
    followed = await following
    assert followed == await live, "the follower's stream was not even broken"
    assert [event.number for event in followed] == list(range(1, 62))
    assert followed[-1].state is TaskState.COMPLETED
    assert (await ask(elsewhere, session_id, "go on")).state is TaskState.COMPLETED


async def test_a_longer_outage_breaks_streams_that_are_then_resumed(
    here: Services, elsewhere: Services, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "RETRY_SECONDS", 0.3)
    session_id = await new_session(here)
    task = await here.turns.start(ALICE, session_id, said("count to 60 every 50 ms"))
    seen: list[Event] = []
    following = asyncio.create_task(follow(elsewhere, task, seen))
    await asyncio.sleep(1)
    await asyncio.to_thread(restart, postgres_server, 1.5)
    await following
    assert [event.number for event in seen] == list(range(1, 62))
    assert (
        "".join(event.text for event in seen if event.kind is EventKind.MESSAGE)
        == ((await elsewhere.store.read_task(ALICE, task.id)).output or said("")).text
    )
    assert seen[-1].state is TaskState.COMPLETED


async def test_what_was_acknowledged_outlives_the_engine(here: Services, postgres_server: PostgresServer) -> None:
    session_id = await new_session(here)
    task = await ask(here, session_id, "My name is Alice")
    await asyncio.to_thread(restart, postgres_server)
    assert await here.store.read_task(ALICE, task.id) == task
    answer = await ask(here, session_id, "What is my name?")
    assert answer.output
    assert answer.output.text == "Your name is Alice."


async def test_while_the_engine_is_away_calls_fail_in_good_time_and_say_so(
    here: Services, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "RETRY_SECONDS", 0.3)
    session_id = await new_session(here)
    await asyncio.to_thread(postgres_server.stop, "immediate")
    try:
        for call in (here.store.read_session(ALICE, session_id), new_session(here)):
            with pytest.raises(StoreUnavailable, match="cannot be reached"):
                await call
    finally:
        await asyncio.to_thread(postgres_server.start)
    assert (await ask(here, session_id, "hello")).state is TaskState.COMPLETED
