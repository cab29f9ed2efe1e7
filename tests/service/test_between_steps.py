"""What comes between two writes of a turn's beginning: a cancel, or the end of whoever asked; and a slow store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from hector.agents.base import Turn
from hector.errors import AgentError
from hector.model import Event, EventKind, TaskState, TurnPolicy
from hector.stores.base import Idempotency, Lease, Outcome
from hector.stores.memory import MemoryStore
from hector.turns import Asked
from tests.backends import BACKENDS, FreshPlace
from tests.support import ALICE, ask, events_of, new_session, said, services_with


async def test_the_log_is_written_by_time_even_if_a_write_takes_longer_than_a_token() -> None:
    class Slow(MemoryStore):
        appends = 0

        async def append_events(self, lease: Lease, events: Sequence[Event], *, extend: int) -> Lease:
            self.appends += 1
            await asyncio.sleep(0.01)
            return await super().append_events(lease, events, extend=extend)

    async def answer(turn: Turn) -> AsyncIterator[str]:
        for _ in range(200):
            await asyncio.sleep(0.004)
            yield "word "

    store = Slow()
    services = services_with(store, agent=answer)
    task = await ask(services, await new_session(services), "hello")
    assert task.last_event == 200
    assert store.appends < 20


@pytest.mark.parametrize("keyed", [False, True], ids=["plain", "keyed"])
@pytest.mark.parametrize("backend", BACKENDS)
async def test_a_cancel_between_submit_and_claim_keeps_the_model_from_being_called(
    backend: str, fresh_place: FreshPlace, keyed: bool
) -> None:
    calls = 0

    async def answer(turn: Turn) -> AsyncIterator[str]:
        nonlocal calls
        calls += 1
        yield "too late"

    store = fresh_place(backend).store()
    await store.set_up()
    services = services_with(store, agent=answer)
    try:
        session_id = await new_session(services)
        claim, may_claim = store.claim, asyncio.Event()

        async def late(*arguments: Any, **options: Any) -> Lease:
            await may_claim.wait()
            return await claim(*arguments, **options)

        store.claim = late  # type: ignore[method-assign]
        asked = Asked(Idempotency("key", "body") if keyed else None)
        starting = asyncio.create_task(services.turns.start(ALICE, session_id, said("hello"), asked=asked))
        async with asyncio.timeout(10):
            while not (items := (await store.list_tasks(ALICE, session_id)).items):
                await asyncio.sleep(0.02)
        assert (await services.turns.cancel(ALICE, items[0].id)).state is TaskState.CANCELED
        may_claim.set()
        task = await starting
        (end,) = await events_of(services, task)
        assert (end.state, calls) == (TaskState.CANCELED, 0)
        assert (await ask(services, session_id, "hello again")).state is TaskState.COMPLETED
    finally:
        await services.aclose()


async def test_a_reader_of_pieces_that_were_not_kept_is_told_how_the_task_ended() -> None:
    """Its cursor has the number that the end would have had, and it has not seen the end."""
    store, said_it = MemoryStore(), asyncio.Event()

    async def answer(turn: Turn) -> AsyncIterator[str]:
        yield "one piece"
        said_it.set()
        await asyncio.sleep(30)

    services = services_with(store, agent=answer)
    session_id = await new_session(services)
    task = await services.turns.start(ALICE, session_id, said("hello"))
    reading = asyncio.create_task(events_of(services, task))
    await said_it.wait()
    await asyncio.sleep(0.01)
    record = store.records[session_id]
    record.open_task, record.fence = None, record.fence + 1
    await store.leave_line(ALICE, task.id, Outcome(TaskState.CANCELED, 0), nonce="n")
    piece, reset, end = await asyncio.wait_for(reading, 10)
    assert (piece.text, reset.kind, reset.number) == ("one piece", EventKind.RESET, 0)
    assert (end.number, end.state) == (1, TaskState.CANCELED)


@pytest.mark.parametrize("keyed", [False, True], ids=["plain", "keyed"])
@pytest.mark.parametrize("policy", [TurnPolicy.REJECT, TurnPolicy.ENQUEUE])
@pytest.mark.parametrize("busy", [False, True], ids=["free", "busy"])
async def test_whoever_is_canceled_while_a_message_is_taken_leaves_nothing_behind(
    policy: TurnPolicy, keyed: bool, busy: bool
) -> None:
    class Slow(MemoryStore):
        """Its writes are done, whoever waits for them."""

        async def submit(self, *arguments: Any, **options: Any) -> Any:
            return await asyncio.shield(self._later(super().submit, *arguments, **options))

        async def claim(self, *arguments: Any, **options: Any) -> Any:
            return await asyncio.shield(self._later(super().claim, *arguments, **options))

        async def line_up(self, *arguments: Any, **options: Any) -> Any:
            return await asyncio.shield(self._later(super().line_up, *arguments, **options))

        async def _later(self, verb: Any, *arguments: Any, **options: Any) -> Any:
            await asyncio.sleep(0.02)
            return await verb(*arguments, **options)

    store = Slow()
    services = services_with(store)
    for delay in (0.0, 0.01, 0.03, 0.05):
        session_id = await new_session(services)
        if busy:
            open_turn = await services.turns.start(ALICE, session_id, said("be silent for 60 seconds"))
        asked = Asked(Idempotency(f"key {delay}", "body") if keyed else None, policy)
        starting = asyncio.create_task(services.turns.start(ALICE, session_id, said("My name is Eve"), asked=asked))
        await asyncio.sleep(delay)
        if starting.done():
            continue
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await asyncio.sleep(0.15)
        if busy:
            waiting = (await store.read_session(ALICE, session_id)).waiting
            if keyed and policy is TurnPolicy.ENQUEUE:  # the line keeps it for whoever comes with the key again
                for task_id in waiting:
                    await services.turns.cancel(ALICE, task_id)
            else:
                assert waiting == ()
            await services.turns.cancel(ALICE, open_turn.id)
            await services.follow.ended(ALICE, open_turn)
        assert (await store.read_session(ALICE, session_id)).open_task_id is None
        assert "Eve" not in str((await ask(services, session_id, "What is my name?")).output)
        tasks = (await store.list_tasks(ALICE, session_id)).items
        assert [task.input.text for task in tasks if task.state is not TaskState.CANCELED] == ["What is my name?"]
    await services.aclose()


async def test_an_agents_own_error_may_be_anything() -> None:
    class Bare(AgentError):
        def __init__(self) -> None:
            pass

    async def bare(turn: Turn) -> AsyncIterator[str]:
        yield "half"
        raise Bare

    async def long(turn: Turn) -> AsyncIterator[str]:
        raise AgentError("c" * 10_000, "m" * 10_000)
        yield

    for agent, code, message in ((bare, "internal", "The agent raised Bare."), (long, "c" * 2_000, "m" * 2_000)):
        services = services_with(agent=agent)
        task = await asyncio.wait_for(ask(services, await new_session(services), "hello"), 5)
        assert task.error is not None
        assert (task.state, task.error.code, task.error.message) == (TaskState.FAILED, code, message)
        await services.aclose()
