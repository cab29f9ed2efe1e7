"""Turns: one at a time, durable before the first event, and a session that goes on whatever happened."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from hector.agents.base import Progress, Turn
from hector.errors import IdempotencyKeyReused, NotFound, SessionBusy, Stopping, StoreUnavailable, TaskNotCancelable
from hector.model import EventKind, Message, Role, TaskState, Usage
from hector.producer import MAX_OUTPUT_BYTES
from hector.stores.base import Idempotency, Outcome, Store
from hector.stores.memory import MemoryStore
from hector.turns import Asked
from tests.support import ALICE, BOB, ManualClock, ask, events_of, new_session, said, services_with, wait_until


async def test_a_session_remembers(store: Store) -> None:
    services = services_with(store)
    session_id = await new_session(services)
    await ask(services, session_id, "My name is Alice")
    task = await ask(services, session_id, "What is my name?")
    assert task.state is TaskState.COMPLETED
    assert task.output == Message.of(Role.AGENT, "Your name is Alice.")
    assert task.usage is not None
    assert (await services.store.read_session(ALICE, session_id)).turns == 2


async def test_sessions_do_not_know_each_other(store: Store) -> None:
    services = services_with(store)
    await ask(services, await new_session(services), "My name is Alice")
    task = await ask(services, await new_session(services), "What is my name?")
    assert task.output == Message.of(Role.AGENT, "You have not told me your name yet.")


async def test_the_message_is_durable_before_the_agent_sees_it() -> None:
    seen: list[str] = []

    async def answer(turn: Turn) -> AsyncIterator[str]:
        task = await services.store.read_task(ALICE, turn.task_id)
        seen.append(f"{task.state}: {task.input.text}")
        yield "done"

    services = services_with(agent=answer)
    await ask(services, await new_session(services), "keep this")
    assert seen == ["working: keep this"]


async def test_the_agent_is_given_the_conversation_and_its_settings() -> None:
    seen: list[Turn] = []

    def answer(turn: Turn) -> str:
        seen.append(turn)
        return f"answer {len(seen)}"

    services = services_with(
        agent=answer,
        agents={"my_agent": {"llm": "builtin", "prompt": {"system": "Be kind."}, "memory": {"messages": 2}}},
    )
    session_id = await new_session(services)
    for text in ("one", "two", "three"):
        await ask(services, session_id, text)
    last = seen[-1]
    assert (last.text, last.system, last.session.id) == ("three", "Be kind.", session_id)
    assert [(m.role, m.text) for m in last.history] == [(Role.USER, "two"), (Role.AGENT, "answer 2")]


async def test_fifty_messages_at_once_run_one_turn_and_lose_none(store: Store) -> None:
    calls: list[str] = []
    go_on = asyncio.Event()

    async def answer(turn: Turn) -> str:
        calls.append(turn.text)
        await go_on.wait()
        return "done"

    services = services_with(store, agent=answer)
    session_id = await new_session(services)
    posts = [services.turns.start(ALICE, session_id, said(f"m{number}")) for number in range(50)]
    results = await asyncio.gather(*posts, return_exceptions=True)
    started = [task for task in results if not isinstance(task, BaseException)]
    refused = [error for error in results if isinstance(error, BaseException)]
    assert len(started) == 1
    assert all(isinstance(error, SessionBusy) for error in refused)
    go_on.set()
    await services.turns.drain()
    assert calls == [started[0].input.text]
    page = await services.store.list_tasks(ALICE, session_id)
    assert [task.id for task in page.items] == [started[0].id], "a refused message leaves nothing behind"


async def test_a_turn_can_follow_at_once_when_the_end_was_seen(store: Store) -> None:
    services = services_with(store)
    session_id = await new_session(services)
    for number in range(5):
        task = await services.turns.start(ALICE, session_id, said(f"message {number}"))
        assert (await events_of(services, task))[-1].state is TaskState.COMPLETED


async def test_one_key_is_one_model_call(store: Store) -> None:
    calls = 0

    async def answer(turn: Turn) -> str:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.05)
        return f"call {calls}"

    services = services_with(store, agent=answer)
    session_id = await new_session(services)
    key = Idempotency("k1", "fingerprint")

    async def post() -> str:
        task = await services.turns.start(ALICE, session_id, said("pay"), asked=Asked(key))
        ended = await services.follow.ended(ALICE, task)
        assert ended.output is not None
        return f"{ended.id} {ended.output.text}"

    answers = set(await asyncio.gather(*(post() for _ in range(10))))
    answers.add(await post())
    assert len(answers) == 1
    assert calls == 1
    with pytest.raises(IdempotencyKeyReused, match="'k1'"):
        await services.turns.start(ALICE, session_id, said("other"), asked=Asked(Idempotency("k1", "else")))


async def test_what_the_agent_raises_becomes_a_failed_task_and_the_session_goes_on(store: Store) -> None:
    async def answer(turn: Turn) -> AsyncIterator[str]:
        yield "half of"
        if turn.text == "break":
            raise ZeroDivisionError("secret detail")
        yield f" {len(turn.history)} messages before"

    services = services_with(store, agent=answer)
    session_id = await new_session(services)
    failed = await ask(services, session_id, "break")
    assert failed.state is TaskState.FAILED
    assert failed.error is not None
    assert failed.error.code == "agent_error"
    assert "ZeroDivisionError" in failed.error.message
    assert "secret" not in failed.error.message
    assert failed.output == Message.of(Role.AGENT, "half of")
    after = await ask(services, session_id, "go on")
    assert after.output == Message.of(Role.AGENT, "half of 2 messages before")


@pytest.mark.parametrize("agent_fails", ["immediately", "asked"])
async def test_failures_before_the_first_word(agent_fails: str) -> None:
    def answer(turn: Turn) -> str:
        raise SystemExit(3)

    services = services_with(agent=answer if agent_fails == "immediately" else None)
    task = await ask(services, await new_session(services), "fail please")
    assert task.error is not None
    assert task.error.code == ("agent_error" if agent_fails == "immediately" else "asked_to_fail")
    assert task.output is None


async def test_an_agent_that_never_yields_times_out() -> None:
    async def answer(turn: Turn) -> AsyncIterator[str]:
        await asyncio.sleep(60)
        yield "never"

    services = services_with(agent=answer, agents={"my_agent": {"llm": "builtin", "turns": {"timeout": "200ms"}}})
    task = await ask(services, await new_session(services), "hello")
    assert task.error is not None
    assert (task.state, task.error.code) == (TaskState.FAILED, "timeout")


async def test_the_process_can_set_an_earlier_end() -> None:
    services = services_with()
    session_id = await new_session(services)
    task = await services.turns.start(
        ALICE, session_id, said("be silent for 60 seconds"), asked=Asked(seconds_left=0.1)
    )
    ended = await services.follow.ended(ALICE, task)
    assert ended.error is not None
    assert ended.error.code == "deadline"


async def test_an_endless_answer_is_cut_off() -> None:
    async def answer(turn: Turn) -> AsyncIterator[str]:
        while True:
            yield "x" * 1000

    services = services_with(agent=answer)
    task = await ask(services, await new_session(services), "hello")
    assert task.error is not None
    assert task.error.code == "answer_too_long"
    assert task.output is not None
    assert len(task.output.text) == MAX_OUTPUT_BYTES // 1000 * 1000


@pytest.mark.parametrize("kind", ["silent", "streaming", "deaf", "blocking"])
async def test_cancel_stops_the_agent_within_a_second_and_the_session_goes_on(kind: str, store: Store) -> None:
    stopped = asyncio.Event()

    async def silent(turn: Turn) -> AsyncIterator[str]:
        try:
            await asyncio.sleep(60)
            yield "never"
        finally:
            stopped.set()

    async def streaming(turn: Turn) -> AsyncIterator[str]:
        try:
            while True:
                yield "word "
                await asyncio.sleep(0.01)
        finally:
            stopped.set()

    async def deaf(turn: Turn) -> AsyncIterator[str]:
        stopped.set()
        ends_at = time.monotonic() + 3
        while time.monotonic() < ends_at:
            try:
                await asyncio.sleep(3)
            except asyncio.CancelledError:
                continue
        yield "too late"

    def blocking(turn: Turn) -> Iterator[str]:
        stopped.set()
        yield "before"
        time.sleep(3)
        yield "too late"

    agents = {"silent": silent, "streaming": streaming, "deaf": deaf, "blocking": blocking}

    services = services_with(store, agent=agents[kind])
    session_id = await new_session(services)
    task = await services.turns.start(ALICE, session_id, said("work"))
    await asyncio.sleep(0.2)
    started = time.monotonic()
    await services.turns.cancel(ALICE, task.id)
    ended = await services.follow.ended(ALICE, task)
    assert time.monotonic() - started < 1.2  # a second, and what a busy test machine needs
    assert ended.state is TaskState.CANCELED
    assert stopped.is_set()
    with pytest.raises(TaskNotCancelable, match="already canceled"):
        await services.turns.cancel(ALICE, task.id)
    again = await services.turns.start(ALICE, session_id, said("and now?"))
    assert again.state is TaskState.SUBMITTED
    await services.turns.stop()


async def test_nobody_else_can_touch_a_session_or_its_tasks(store: Store) -> None:
    services = services_with(store)
    session_id = await new_session(services, ALICE)
    task = await ask(services, session_id, "secret")
    for attempt in (
        services.store.read_session(BOB, session_id),
        services.turns.start(BOB, session_id, said("hello")),
        services.turns.cancel(BOB, task.id),
        services.store.read_task(BOB, task.id),
        services.store.list_tasks(BOB, session_id),
        services.store.read_events(BOB, task.id, after=0),
        services.store.delete_session(BOB, session_id),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert (await services.store.list_sessions(BOB)).items == []
    assert (await services.store.read_session(ALICE, session_id)).turns == 1


async def test_a_session_ends_at_its_expiry_and_a_turn_keeps_it_alive() -> None:
    clock = ManualClock()
    services = services_with(MemoryStore(clock), clock=clock)
    session_id = await new_session(services, ttl=60_000)
    clock.advance(seconds=59)
    await ask(services, session_id, "still here")
    clock.advance(seconds=59.999)
    await services.store.read_session(ALICE, session_id)
    clock.advance(seconds=0.001)
    with pytest.raises(NotFound):
        await ask(services, session_id, "too late")


async def test_a_session_that_is_erased_in_mid_turn_ends_the_stream(store: Store) -> None:
    services = services_with(store)
    session_id = await new_session(services)
    task = await services.turns.start(ALICE, session_id, said("count to 1000 every 20 ms"))
    reading = asyncio.create_task(events_of(services, task))
    await asyncio.sleep(0.1)
    await services.store.delete_session(ALICE, session_id)
    events = await reading
    assert events[-1].state is TaskState.CANCELED
    assert events[-1].error is not None
    assert events[-1].error.code == "session_ended"
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    await services.turns.drain()


async def test_stopping_the_server_fails_what_runs() -> None:
    services = services_with()
    session_id = await new_session(services)
    task = await services.turns.start(ALICE, session_id, said("be silent for 60 seconds"))
    await services.aclose()
    ended = await services.store.read_task(ALICE, task.id)
    assert ended.error is not None
    assert ended.error.code == "worker_stopped"


async def test_progress_and_usage_are_told() -> None:
    async def answer(turn: Turn) -> AsyncIterator[object]:
        yield Progress("searching", 0.5)
        yield "found"
        yield Usage(10, 1)

    services = services_with(agent=answer)
    session_id = await new_session(services)
    task = await services.turns.start(ALICE, session_id, said("search"))
    first, *_ = await events_of(services, task)
    assert (first.kind, first.state, first.text, first.fraction) == (
        EventKind.STATUS, TaskState.WORKING, "searching", 0.5,
    )  # fmt: skip
    assert (await services.store.read_task(ALICE, task.id)).usage == Usage(10, 1)


async def test_without_streaming_the_answer_comes_in_one_piece() -> None:
    services = services_with(reasoning={"enable_streaming": False})
    session_id = await new_session(services)
    task = await services.turns.start(ALICE, session_id, said("count to 5"))
    events = await events_of(services, task)
    assert [event.text for event in events] == ["1 2 3 4 5", ""]


async def test_an_agent_in_a_thread_may_block() -> None:
    def answer(turn: Turn) -> Iterator[str]:
        for number in range(3):
            time.sleep(0.05)
            yield str(number)

    services = services_with(agent=answer)
    session_id = await new_session(services)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.005)

    ticking = asyncio.create_task(tick())
    task = await ask(services, session_id, "hello")
    ticking.cancel()
    assert task.output == Message.of(Role.AGENT, "012")
    assert ticks > 10, "the event loop went on while the agent blocked"


async def test_no_work_is_left_after_a_drain() -> None:
    services = services_with()
    session_id = await new_session(services)
    before = asyncio.all_tasks()
    await services.turns.start(ALICE, session_id, said("count to 20 every 5 ms"))
    await services.turns.drain()
    await wait_until(lambda: asyncio.all_tasks() == before, 1)


async def test_a_task_that_was_closed_by_somebody_else_leaves_the_session_free(store: Store) -> None:
    services = services_with(store)
    session_id = await new_session(services)
    task = await services.turns.start(ALICE, session_id, said("count to 5 every 50 ms"))
    lease = next(iter(services.turns._running._producers.values()))._writer.lease
    await store.commit(lease, Outcome(TaskState.CANCELED, 0), nonce="somebody else")
    await services.turns.drain()
    assert (await ask(services, session_id, "go on")).state is TaskState.COMPLETED
    assert (await store.read_task(ALICE, task.id)).state is TaskState.CANCELED


async def test_a_first_turn_that_cannot_begin_leaves_no_session_behind() -> None:
    class Away(MemoryStore):
        away = True

        async def claim(self, *arguments: Any, **options: Any) -> Any:
            if self.away:
                raise StoreUnavailable("the store is away")
            return await super().claim(*arguments, **options)

    store = Away()
    services = services_with(store)
    with pytest.raises(StoreUnavailable):
        await services.turns.start_new(ALICE, "my_agent", said("hello"))
    assert (await store.list_sessions(ALICE)).items == []
    await services.turns.stop()
    with pytest.raises(Stopping):
        await services.turns.start_new(ALICE, "my_agent", said("hello"))
    assert (await store.list_sessions(ALICE)).items == []
