"""functions/handle_event: what each source of events sets off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from hector.agents.base import Turn
from hector.events.handle import UnsupportedEvent, event_handler
from hector.log_writer import LEASE
from hector.margins import LAST_SECONDS, MARGIN_SECONDS
from hector.model import TaskState
from hector.services import Services
from hector.stores.memory import MemoryStore
from hector.turns import Asked
from response_streaming.loop import async_handler, process_loop
from tests.service.test_faults import die
from tests.service.test_worker import BACKGROUND, Queue, posted, process
from tests.support import ALICE, Context, ManualClock, new_session, slow_to_close

T = TypeVar("T")
EVENTS = Path(__file__).parents[2] / "events"


def run(work: Coroutine[Any, Any, T]) -> T:
    """Between two invocations."""
    return process_loop().run_until_complete(work)


def handler_of(services: Services) -> Any:
    """As functions/handle_event makes it."""
    return async_handler(event_handler(services))


def event(name: str, **record: Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((EVENTS / f"handle_event_{name}.json").read_text())
    if record:
        content["Records"] = [content["Records"][0] | record]
    return content


def waiting(services: Services, text: str) -> str:
    async def post() -> str:
        return (await posted(services, await new_session(services), text, BACKGROUND)).id

    return run(post())


def state(services: Services, task_id: str) -> TaskState:
    return run(services.store.read_task(ALICE, task_id)).state


def test_a_message_runs_its_task() -> None:
    services = process(MemoryStore(), Queue())
    task_id = waiting(services, "count to 3")
    answer = handler_of(services)(event("work", body=task_id), Context())
    assert answer == {"batchItemFailures": []}
    assert state(services, task_id) is TaskState.COMPLETED


def test_the_sample_message_is_for_a_task_that_is_gone() -> None:
    services = process(MemoryStore(), Queue())
    assert handler_of(services)(event("work"), Context()) == {"batchItemFailures": []}


def test_a_message_that_could_not_be_looked_after_comes_again() -> None:
    services = process(MemoryStore(), Queue())
    task_id = waiting(services, "count to 3")
    services.turns._agents = {}
    answer = handler_of(services)(event("work", body=task_id), Context())
    assert answer == {"batchItemFailures": [{"itemIdentifier": event("work")["Records"][0]["messageId"]}]}


def test_no_work_is_left_on_the_loop() -> None:
    services = process(MemoryStore(), Queue())
    task_id = waiting(services, "count to 3 every 20 ms")
    handler_of(services)(event("work", body=task_id), Context())
    assert asyncio.all_tasks(process_loop()) == set()
    assert state(services, task_id) is TaskState.COMPLETED


def test_what_an_agent_leaves_behind_does_not_run_in_the_next_invocation(caplog: pytest.LogCaptureFixture) -> None:
    ran: list[tuple[str, int]] = []
    number = 0

    async def answer(turn: Turn) -> AsyncIterator[str]:
        async def audit() -> None:
            while True:
                ran.append((turn.text, number))
                await asyncio.sleep(0.02)

        kept.append(asyncio.create_task(audit(), name=f"audit of {turn.text}"))
        yield "done"
        await asyncio.sleep(0.1)

    kept: list[asyncio.Task[None]] = []
    services = process(MemoryStore(), Queue(), answer)
    for number, task_id in enumerate([waiting(services, "one"), waiting(services, "two")]):  # noqa: B007
        handler_of(services)(event("work", body=task_id), Context())
        assert state(services, task_id) is TaskState.COMPLETED
    assert set(ran) == {("one", 0), ("two", 1)}
    assert "left behind: audit of one" in caplog.text


def test_what_will_not_end_ends_the_process_while_there_is_time_to_say_so(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    freed = asyncio.Event()
    kept: list[asyncio.Task[None]] = []

    async def stubborn() -> None:
        while not freed.is_set():
            with suppress(asyncio.CancelledError):
                await freed.wait()

    async def answer(turn: Turn) -> AsyncIterator[str]:
        kept.append(asyncio.create_task(stubborn(), name="stubborn"))
        yield "done"

    flushed: list[float] = []
    services = process(MemoryStore(), Queue(), answer)
    task_id = waiting(services, "hello")
    context = Context(4.0)
    monkeypatch.setattr("hector.telemetry.flush", lambda: flushed.append(context.get_remaining_time_in_millis()))
    with pytest.raises(SystemExit):
        handler_of(services)(event("work", body=task_id), context)
    assert context.get_remaining_time_in_millis() > 0
    assert len(flushed) == 1
    assert "these tasks ignore cancellation: stubborn" in caplog.text
    freed.set()
    run(asyncio.wait_for(kept[0], 1))
    assert state(services, task_id) is TaskState.COMPLETED


@pytest.mark.parametrize("source", ["work", "sweep"])
def test_turns_that_were_begun_end_also_where_something_went_wrong(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = process(MemoryStore(), Queue())
    begun: list[str] = []

    async def fails(*_: Any, **__: Any) -> None:
        task = await posted(services, await new_session(services), "count to 5 every 20 ms", Asked(seconds_left=50))
        begun.append(task.id)
        raise ZeroDivisionError

    monkeypatch.setattr("hector.worker.Worker.work", fails)
    monkeypatch.setattr("hector.sweep.Sweep.run", fails)
    with pytest.raises(ZeroDivisionError):
        handler_of(services)(event(source), Context())
    assert state(services, begun[0]) is TaskState.COMPLETED


def test_a_turn_whose_agent_takes_long_to_close_ends_with_its_metrics_before_its_invocation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flushed: list[float] = []
    services = process(MemoryStore(), Queue(), slow_to_close, hands_over=True)
    task_id = waiting(services, "hello")
    context = Context(MARGIN_SECONDS + 0.3)
    monkeypatch.setattr("hector.telemetry.flush", lambda: flushed.append(context.get_remaining_time_in_millis() / 1000))
    handler_of(services)(event("work", body=task_id), context)
    assert 0.5 < flushed[0] <= LAST_SECONDS
    assert context.get_remaining_time_in_millis() > 0
    assert state(services, task_id) is TaskState.SUBMITTED, "another process goes on"


def test_the_schedule_sweeps() -> None:
    clock = ManualClock()
    store, queue = MemoryStore(clock), Queue()
    dead, services = process(store, queue, clock=clock), process(store, queue, clock=clock)

    async def lose() -> str:
        task = await posted(dead, await new_session(dead), "count to 1000 every 20 ms", asked=BACKGROUND)
        assert dead.worker is not None
        working = asyncio.ensure_future(dead.worker.work(task.id))
        await asyncio.sleep(0.4)
        die(dead)
        working.cancel()
        return task.id

    task_id = run(lose())
    clock.advance(seconds=LEASE / 1000)
    assert handler_of(services)(event("sweep"), Context()) is None
    assert state(services, task_id) is TaskState.FAILED


@pytest.mark.parametrize("unknown", [{}, {"Records": []}, {"Records": [{"eventSource": "aws:s3"}]}, {"source": "x"}])
def test_an_event_of_another_source_is_refused_and_told_which_there_are(unknown: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedEvent, match=r"aws:sqs, aws\.events"):
        handler_of(process(MemoryStore(), Queue()))(unknown, Context())
