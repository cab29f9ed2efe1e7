"""One log, many readers: live, replayed, joined and resumed at every event, with equal events and one end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from hector.agents.base import Turn
from hector.dialects.native import event_frame
from hector.errors import NotFound, StoreUnavailable
from hector.follow import Follow
from hector.live import LiveLogs
from hector.log_writer import LEASE
from hector.model import Event, EventKind, TaskState
from hector.recovery import Recovery
from hector.services import Services
from hector.stores.base import Lease, Store
from hector.stores.memory import MemoryStore
from tests.support import ALICE, ManualClock, ask, events_of, new_session, said, services_with


def text_of(events: list[Event], task_id: str = "t") -> str:
    return "".join(event_frame(task_id, event) for event in events)


def elsewhere(services: Services) -> Services:
    """The same store as another process has it: nothing is handed over in memory."""
    live = LiveLogs()
    recovery = Recovery(services.store, live, services.clock, services.queue)
    return replace(services, follow=Follow(services.store, live, recovery), recovery=recovery)


async def test_cut_after_every_event_and_resumed_the_stream_is_equal(store: Store) -> None:
    services = services_with(store)
    task = await services.turns.start(ALICE, await new_session(services), said("count to 12 every 20 ms"))
    live = await events_of(services, task)
    uncut = text_of(live)
    assert [event.number for event in live] == list(range(1, 14))
    for reader in (services, elsewhere(services)):
        for cut in range(len(live) + 1):
            resumed = await events_of(reader, task, after=cut)
            assert text_of(live[:cut]) + text_of(resumed) == uncut, f"cut after {cut}"


@pytest.mark.parametrize("where", ["here", "elsewhere"])
async def test_readers_that_join_at_every_event_of_a_running_task_see_the_same(where: str, store: Store) -> None:
    services = services_with(store)
    reader = services if where == "here" else elsewhere(services)
    task = await services.turns.start(ALICE, await new_session(services), said("count to 15 every 40 ms"))
    joined: list[asyncio.Task[list[Event]]] = []
    live: list[Event] = []
    async for batch in services.follow.events(ALICE, task):
        live += batch
        joined.append(asyncio.create_task(events_of(reader, task)))
        joined.append(asyncio.create_task(events_of(reader, task, after=batch[-1].number)))
    uncut = text_of(live)
    for index, (whole, rest) in enumerate(zip(joined[::2], joined[1::2], strict=True), 1):
        assert text_of(await whole) == uncut
        assert text_of(live[:index]) + text_of(await rest) == uncut


async def test_fifty_followers_get_equal_events() -> None:
    services = services_with()
    task = await services.turns.start(ALICE, await new_session(services), said("count to 200 every 1 ms"))
    followers = await asyncio.gather(*(events_of(services, task) for _ in range(50)))
    assert len({text_of(events) for events in followers}) == 1
    assert len(followers[0]) == 201


async def test_tokens_are_handed_on_as_they_are_made() -> None:
    go_on = asyncio.Event()

    async def answer(turn: Turn) -> AsyncIterator[str]:
        yield "first"
        await go_on.wait()
        yield "second"

    services = services_with(agent=answer)
    task = await services.turns.start(ALICE, await new_session(services), said("hello"))
    batches = services.follow.events(ALICE, task)
    assert [event.text for event in await anext(batches)] == ["first"]
    go_on.set()
    assert [event.text for event in await anext(batches)] == ["second"]
    await batches.aclose()


async def test_a_reader_that_goes_away_does_not_stop_the_turn() -> None:
    services = services_with()
    task = await services.turns.start(ALICE, await new_session(services), said("count to 10 every 10 ms"))
    batches = services.follow.events(ALICE, task)
    await anext(batches)
    await batches.aclose()
    assert (await services.follow.ended(ALICE, task)).state is TaskState.COMPLETED


async def test_who_has_seen_the_end_is_told_nothing() -> None:
    services = services_with()
    task = await ask(services, await new_session(services), "count to 3")
    assert not services.follow.seen_all(task, 3)
    assert services.follow.seen_all(task, 4)
    assert await events_of(services, task, after=4) == []


async def test_a_cursor_beyond_the_end_is_reset() -> None:
    services = services_with()
    task = await ask(services, await new_session(services), "count to 3")
    reset, terminal = await events_of(services, task, after=9)
    assert (reset.kind, reset.number) == (EventKind.RESET, 3)
    assert (terminal.number, terminal.state) == (4, TaskState.COMPLETED)


class DyingStore(MemoryStore):
    """A store whose worker dies: what it flushes after `dies_after` writes never arrives."""

    dies_after = 1
    writes = 0

    async def append_events(self, lease: Lease, events: Sequence[Event], *, extend: int) -> Lease:
        self.writes += 1
        if self.writes > self.dies_after:
            raise StoreUnavailable("the worker is dead")
        return await super().append_events(lease, events, extend=extend)

    async def check_lease(self, lease: Lease) -> Lease:
        if self.writes >= self.dies_after:
            raise StoreUnavailable("the worker is dead")
        return await super().check_lease(lease)


async def test_a_crash_takes_back_what_was_not_flushed_and_the_reader_is_told() -> None:
    clock = ManualClock()
    store = DyingStore(clock)
    services = services_with(store, clock=clock)
    session_id = await new_session(services)
    task = await services.turns.start(ALICE, session_id, said("count to 1000 every 20 ms"))
    seen: list[Event] = []
    async for batch in services.follow.events(ALICE, task):
        seen += batch
        if store.writes > store.dies_after:
            break
    clock.advance(seconds=LEASE / 1000)
    rest = await events_of(elsewhere(services), task, after=seen[-1].number)
    reset, terminal = rest
    assert reset.kind is EventKind.RESET
    assert 0 < reset.number < seen[-1].number
    assert terminal.number == reset.number + 1
    assert terminal.error is not None
    assert terminal.error.code == "worker_lost"
    closed = await store.read_task(ALICE, task.id)
    assert closed.output is not None, "what was flushed is kept"
    assert closed.output.text == "".join(event.text for event in seen[: reset.number])
    store.dies_after = 10**9
    after = await ask(services, session_id, "count to 2")
    assert after.state is TaskState.COMPLETED
    later = await events_of(elsewhere(services), task, after=terminal.number)
    assert later == [reset, terminal], "an old cursor is never met with silence"
    await services.turns.stop()


async def test_the_next_message_closes_a_lost_turn(store: Store) -> None:
    clock = ManualClock()
    lost_store = store
    if isinstance(store, MemoryStore):
        lost_store = MemoryStore(clock)
    services = services_with(lost_store, clock=clock)
    session_id = await new_session(services)
    task = replace(await ask(services, session_id, "hello"), id=f"{session_id}-{'f' * 19}", state=TaskState.SUBMITTED)
    await lost_store.submit(replace(task, output=None, turn=0, last_event=0), nonce="n")
    await lost_store.claim(ALICE, session_id, task.id, lease=1, nonce="n")
    clock.advance(seconds=1)
    await asyncio.sleep(0.01)
    answer = await ask(services, session_id, "are you there?")
    assert answer.state is TaskState.COMPLETED
    closed = await lost_store.read_task(ALICE, task.id)
    assert closed.error is not None
    assert closed.error.code == "worker_lost"


@pytest.mark.parametrize("how", ["max_age", "ttl"])
async def test_a_turn_that_outlives_its_session_is_told_to_its_end_to_all_who_followed_it(
    store: Store, how: str
) -> None:
    services = services_with(store, sessions={"ttl": "1s", "max_age": "1s"} if how == "max_age" else {})
    session_id = await new_session(services)
    task = await services.turns.start(ALICE, session_id, said("count to 12 every 150 ms"))
    other = elsewhere(services)
    here, there = [asyncio.create_task(events_of(reader, task)) for reader in (services, other)]
    ended = asyncio.create_task(other.follow.ended(ALICE, task))
    await asyncio.sleep(0.5)
    if how == "ttl":
        await store.update_session(ALICE, session_id, ttl=1)
    events = await here
    assert events[-1].state is TaskState.COMPLETED
    assert len(events) == 13
    assert text_of(await there) == text_of(events)
    assert (await ended).output == (await services.follow.ended(ALICE, task)).output
    with pytest.raises(NotFound):
        await other.follow.task(ALICE, task.id)
