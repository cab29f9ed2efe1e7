"""What goes wrong between two steps of a turn: the session goes on, no task stays open, and nothing is done twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from hector.agents.base import Progress, Turn
from hector.errors import HectorError, StoreUnavailable
from hector.log_writer import EVENT_BYTES, FLUSH_CHARACTERS, LEASE
from hector.model import Event, EventKind, Millis, TaskState, new_task_id
from hector.producer import MAX_NOTE_CHARACTERS, MAX_OUTPUT_BYTES
from hector.services import Services
from hector.stores.base import Idempotency, Lease, Store
from hector.stores.memory import MemoryStore
from hector.turns import Asked
from tests.backends import BACKENDS, FreshPlace, Place
from tests.service.test_follow import elsewhere
from tests.support import ALICE, ManualClock, ask, events_of, new_session, said, services_with

STEPS = [
    "read_session",
    "read_history",
    "submit",
    "claim",
    "read_task",
    "append_events",
    "check_lease",
    "commit",
    "release",
]


class FaultyStore:
    """Any store, away for the n-th call of one method: before it takes effect, or after."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.fail: tuple[str, int, str] | None = None
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name not in STEPS:
            return method

        async def faulty(*arguments: Any, **options: Any) -> Any:
            if self.fail is None or self.fail[0] != name:
                return await method(*arguments, **options)
            self.calls += 1
            if self.calls != self.fail[1]:
                return await method(*arguments, **options)
            if self.fail[2] == "after":
                await method(*arguments, **options)
            raise StoreUnavailable(f"{name} was lost")

        return faulty


def faulty_memory(clock: ManualClock) -> Any:
    return FaultyStore(MemoryStore(clock))


@pytest.fixture(scope="module")
def places(fresh_place: FreshPlace) -> Callable[[str], Place]:
    """One place of each backend for all of these tests: each has a session of its own."""
    return cache(fresh_place)


FAULTS = [
    (backend, step, call, key, when)
    for backend in BACKENDS
    for step in STEPS
    for call in ((1, 2) if backend == "memory" else (1,))
    for key in ((None, Idempotency("key", "body")) if backend == "memory" else (Idempotency("key", "body"),))
    for when in ("before", "after")
]
"""On the reference all of them; on the engines those that tell most."""


@pytest.mark.parametrize(
    ("backend", "step", "call", "key", "when"),
    FAULTS,
    ids=[f"{backend}-{step}-{call}-{'key' if key else 'no key'}-{when}" for backend, step, call, key, when in FAULTS],
)
async def test_a_store_that_is_away_for_one_call_leaves_a_session_that_goes_on(
    backend: str, step: str, call: int, key: Idempotency | None, when: str, places: Callable[[str], Place]
) -> None:
    clock = ManualClock()
    store: Any = FaultyStore(places(backend).store(clock) if backend != "memory" else MemoryStore(clock))
    await store.set_up()
    services = services_with(store, clock=clock)
    session_id = await new_session(services)
    await ask(services, session_id, "hello")
    store.fail = (step, call, when)
    said_so = said("count to 3 every 300 ms" if backend == "memory" else "count to 3 every 100 ms")
    try:
        task = await services.turns.start(ALICE, session_id, said_so, asked=Asked(idempotency=key))
        assert (await services.follow.ended(ALICE, task)).state.terminal
    except StoreUnavailable:
        pass
    await services.turns.drain()
    store.fail = None
    clock.advance(seconds=LEASE / 1000)  # what was left behind, if anything, is taken over now
    after = await ask(services, session_id, "My name is Alice")
    assert after.state is TaskState.COMPLETED
    page = await store.list_tasks(ALICE, session_id)
    for listed in page.items:
        assert (await services.follow.task(ALICE, listed.id)).state.terminal
    if key is not None:
        counted = [listed for listed in page.items if listed.input.text.startswith("count")]
        assert len(counted) <= 1
        again = await services.turns.start(ALICE, session_id, said_so, asked=Asked(idempotency=key))
        assert not counted or again.id == counted[0].id, "one key, one task, whatever answer was lost"
        await services.follow.ended(ALICE, again)
    await store.aclose()


@pytest.mark.parametrize("step", ["submit", "claim", "read_task", "read_history"])
async def test_a_turn_that_could_not_start_is_taken_back_at_once(step: str) -> None:
    clock = ManualClock()
    store = faulty_memory(clock)
    services = services_with(store, clock=clock)
    session_id = await new_session(services)
    await ask(services, session_id, "hello")
    store.fail = (step, 1, "before")
    with pytest.raises(StoreUnavailable):
        await services.turns.start(ALICE, session_id, said("lost"), asked=Asked(Idempotency("key", "body")))
    store.fail = None
    clock.advance(seconds=1)
    assert (await ask(services, session_id, "at once")).state is TaskState.COMPLETED
    newest, _ = (await store.list_tasks(ALICE, session_id)).items
    assert newest.input.text == "at once", "the other one is gone"


async def test_a_key_whose_worker_died_in_mid_answer_is_not_run_again() -> None:
    clock = ManualClock()
    calls = 0

    async def answer(turn: Turn) -> AsyncIterator[str]:
        nonlocal calls
        calls += 1
        yield f"run{calls}"
        await asyncio.sleep(60)

    store = MemoryStore(clock)
    services = services_with(store, agent=answer, clock=clock)
    session_id = await new_session(services)
    key = Idempotency("key", "body")
    task = await services.turns.start(ALICE, session_id, said("pay"), asked=Asked(key))
    await asyncio.sleep(0.3)
    die(services)
    clock.advance(seconds=LEASE / 1000)
    again = services_with(store, agent=answer, clock=clock)
    retried = await again.turns.start(ALICE, session_id, said("pay"), asked=Asked(key))
    assert retried.id == task.id
    ended = await again.follow.ended(ALICE, retried)
    assert ended.error is not None
    assert ended.error.code == "worker_lost"
    assert calls == 1
    assert (await again.follow.ended(ALICE, task)).output == ended.output


async def test_a_task_that_was_submitted_but_never_claimed_is_ended_by_its_reader() -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    services = services_with(store, clock=clock)
    session_id = await new_session(services)
    ended = await ask(services, session_id, "hello")
    orphan = replace(
        ended, id=new_task_id(session_id, clock()), state=TaskState.SUBMITTED, output=None, usage=None, turn=0,
        last_event=0, created_at=clock(),
    )  # fmt: skip
    await store.submit(orphan, nonce="n")
    assert (await services.follow.task(ALICE, orphan.id)).state is TaskState.SUBMITTED
    reading = asyncio.create_task(events_of(services, orphan))
    await asyncio.sleep(0.2)
    assert not reading.done()
    clock.advance(seconds=LEASE / 1000)
    (terminal,) = await reading
    assert terminal.error is not None
    assert terminal.error.code == "worker_lost"


async def test_closing_a_lost_turn_can_be_interrupted_and_is_done_by_the_next_reader() -> None:
    clock = ManualClock()
    store = faulty_memory(clock)
    services = services_with(store, clock=clock)
    session_id = await new_session(services)
    task = await services.turns.start(ALICE, session_id, said("count to 1000 every 20 ms"))
    await asyncio.sleep(0.3)
    die(services)
    clock.advance(seconds=LEASE / 1000)
    store.fail = ("commit", 1, "before")
    with pytest.raises(StoreUnavailable):
        await services_with(store, clock=clock).follow.task(ALICE, task.id)
    clock.advance(seconds=LEASE / 1000)
    ended = await services_with(store, clock=clock).follow.task(ALICE, task.id)
    assert ended.error is not None
    assert ended.error.code == "worker_lost"
    assert ended.output is not None


async def test_a_reader_asks_for_the_state_of_a_lost_turn() -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    services = services_with(store, clock=clock)
    task = await services.turns.start(ALICE, await new_session(services), said("be silent for 60 seconds"))
    await asyncio.sleep(0.05)
    die(services)
    other = elsewhere(services)
    assert (await other.follow.task(ALICE, task.id)).state is TaskState.WORKING
    clock.advance(seconds=LEASE / 1000)
    assert (await other.follow.task(ALICE, task.id)).state is TaskState.FAILED


async def test_an_agent_that_talks_on_after_a_cancel_is_not_heard() -> None:
    async def answer(turn: Turn) -> AsyncIterator[str]:
        for number in range(400):
            try:
                await asyncio.sleep(0.005)
            except asyncio.CancelledError:
                continue
            yield f" {number}"

    services = services_with(agent=answer)
    session_id = await new_session(services)
    task = await services.turns.start(ALICE, session_id, said("talk"))
    reading = asyncio.create_task(events_of(services, task))
    await asyncio.sleep(0.1)
    await services.turns.cancel(ALICE, task.id)
    live = await reading
    assert live[-1].state is TaskState.CANCELED
    assert [event.number for event in live] == list(range(1, len(live) + 1))
    assert await events_of(elsewhere(services), task) == live
    await services.turns.drain()
    assert await events_of(services, task) == live


async def test_an_aborted_agent_may_take_its_time_to_clean_up_and_a_drain_waits_for_it() -> None:
    cleaned = False

    async def answer(turn: Turn) -> AsyncIterator[str]:
        nonlocal cleaned
        try:
            await asyncio.sleep(60)
            yield "never"
        finally:
            await asyncio.sleep(0.8)
            cleaned = True

    services = services_with(agent=answer)
    session_id = await new_session(services)
    before = asyncio.all_tasks()
    task = await services.turns.start(ALICE, session_id, said("work"))
    await asyncio.sleep(0.05)
    await services.turns.cancel(ALICE, task.id)
    assert (await services.follow.ended(ALICE, task)).state is TaskState.CANCELED
    assert not cleaned, "the client does not wait for it"
    await services.turns.drain()
    assert cleaned
    assert asyncio.all_tasks() == before, "no work outlives a drain"


async def test_a_failed_start_leaves_no_work_behind() -> None:
    services = services_with()
    before = asyncio.all_tasks()
    with pytest.raises(HectorError):
        await services.turns.start(ALICE, "unknown", said("hello"))
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("stop", [SystemExit, KeyboardInterrupt])
async def test_an_agent_cannot_end_the_server(stop: type[BaseException]) -> None:
    async def answer(turn: Turn) -> AsyncIterator[str]:
        yield "before"
        raise stop

    services = services_with(agent=answer)
    task = await ask(services, await new_session(services), "hello")
    assert task.error is not None
    assert task.error.code == "agent_error"


async def test_an_agent_that_says_nothing_without_end_lets_others_run() -> None:
    async def answer(turn: Turn) -> AsyncIterator[str]:
        while True:
            yield ""

    services = services_with(agent=answer)
    task = await services.turns.start(ALICE, await new_session(services), said("hello"))
    await asyncio.sleep(0.1)
    await services.turns.cancel(ALICE, task.id)
    async with asyncio.timeout(2):
        assert (await services.follow.ended(ALICE, task)).state is TaskState.CANCELED


async def test_notes_are_bounded_and_fractions_are_numbers() -> None:
    async def answer(turn: Turn) -> AsyncIterator[Progress]:
        for fraction in (float("nan"), float("inf"), -1.0, 0.5, 7.0):
            yield Progress("x" * 10_000, fraction)
        while True:
            yield Progress("x" * 1000)

    services = services_with(agent=answer)
    task = await services.turns.start(ALICE, await new_session(services), said("hello"))
    events = await events_of(services, task)
    assert [event.fraction for event in events[:5]] == [None, None, 0.0, 0.5, 1.0]
    assert len(events[0].text) == MAX_NOTE_CHARACTERS
    assert events[-1].error is not None
    assert events[-1].error.code == "answer_too_long"


async def test_notes_that_say_nothing_are_bounded_and_reach_the_store_in_bounded_batches() -> None:
    async def answer(turn: Turn) -> AsyncIterator[Progress]:
        while True:
            yield Progress("", 0.5)

    batches: list[int] = []

    class CountingStore(MemoryStore):
        async def append_events(self, lease: Lease, events: Sequence[Event], *, extend: Millis) -> Lease:
            batches.append(len(events))
            return await super().append_events(lease, events, extend=extend)

    services = services_with(CountingStore(), agent=answer)
    task = await ask(services, await new_session(services), "hello")
    assert task.error is not None
    assert task.error.code == "answer_too_long"
    assert task.last_event == MAX_OUTPUT_BYTES // EVENT_BYTES
    assert sum(batches) == task.last_event
    assert max(batches) <= 4 * FLUSH_CHARACTERS // EVENT_BYTES


async def test_history_is_read_again_when_a_turn_ended_in_between() -> None:
    seen: list[list[str]] = []

    def answer(turn: Turn) -> str:
        seen.append([message.text for message in turn.history])
        return "ok"

    class StaleStore(MemoryStore):
        stale = False

        async def read_history(self, *arguments: Any, **options: Any) -> Any:
            stale, self.stale = self.stale, False
            return [] if stale else await super().read_history(*arguments, **options)

    store = StaleStore()
    services = services_with(store, agent=answer)
    session_id = await new_session(services)
    await ask(services, session_id, "one")
    store.stale = True
    await ask(services, session_id, "two")
    assert seen[-1] == ["one", "ok"]


async def test_a_silent_turn_keeps_its_lease_and_a_talking_one_reaches_the_store_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hector.producer.RENEW_SECONDS", 0.1)
    clock = ManualClock()
    store = MemoryStore(clock)
    services = services_with(store, clock=clock)
    session_id = await new_session(services)
    silent = await services.turns.start(ALICE, session_id, said("be silent for 60 seconds"))
    for _ in range(3):
        clock.advance(seconds=LEASE / 1000 - 1)
        await asyncio.sleep(0.3)
        assert not (await store.read_events(ALICE, silent.id, after=0)).lost
    await services.turns.cancel(ALICE, silent.id)
    await services.turns.drain()
    talking = await services.turns.start(ALICE, session_id, said("count to 100 every 20 ms"))
    await asyncio.sleep(0.3)
    flushed = (await store.read_events(ALICE, talking.id, after=0)).events
    assert flushed, "what was said reaches the store while the agent goes on"
    assert all(event.kind is EventKind.MESSAGE for event in flushed)
    await services.turns.stop()


async def test_a_worker_that_cannot_reach_the_store_gives_up_when_its_lease_has_run_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hector.producer.LEASE", 300)
    stopped = asyncio.Event()

    async def answer(turn: Turn) -> AsyncIterator[str]:
        try:
            while True:
                yield "word "
                await asyncio.sleep(0.02)
        finally:
            stopped.set()

    class AwayStore(MemoryStore):
        async def append_events(self, *_: Any, **__: Any) -> Any:
            raise StoreUnavailable("away")

    services = services_with(AwayStore(), agent=answer)
    await services.turns.start(ALICE, await new_session(services), said("talk"))
    await asyncio.wait_for(stopped.wait(), 3)
    await services.turns.drain()


async def test_a_server_that_stops_takes_no_more_turns_and_waits_for_nobody_without_end() -> None:
    async def deaf(turn: Turn) -> AsyncIterator[str]:
        while True:
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                if turn.text == "end":
                    raise
                continue
            yield "x"

    services = services_with()
    session_id = await new_session(services)
    slow = await services.turns.start(ALICE, session_id, said("count to 3 every 50 ms"))
    stopping = asyncio.create_task(services.turns.stop(grace=5))
    await asyncio.sleep(0)
    with pytest.raises(HectorError, match="being stopped") as raised:
        await services.turns.start(ALICE, await new_session(services), said("hello"))
    assert raised.value.status == 503
    await stopping
    assert (await services.store.read_task(ALICE, slow.id)).state is TaskState.COMPLETED, "in time, it may finish"


def die(services: Services) -> None:
    """As a process does that is killed: nothing it holds in memory is left, and nothing more is written."""
    for keeping in services.turns._lines._tasks:
        keeping.cancel()
    for running, producer in list(services.turns._running._producers.items()):
        producer._store = _Gone()
        running.cancel()
        producer.log.events.clear()
    services.follow._live._logs.clear()


class _Gone:
    def __getattr__(self, name: str) -> Any:
        async def gone(*_: Any, **__: Any) -> Any:
            raise StoreUnavailable("this process is dead")

        return gone
