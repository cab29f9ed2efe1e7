"""functions/handle_event: what each source of events sets off."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from hector.events import loop
from hector.events.handle import UnsupportedEvent, event_handler
from hector.model import TaskState
from hector.producer import LEASE
from hector.services import Services
from hector.stores.memory import MemoryStore
from tests.service.test_faults import die
from tests.service.test_worker import BACKGROUND, Queue, posted, process
from tests.support import ALICE, ManualClock, new_session

EVENTS = Path(__file__).parents[2] / "events"


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def event(name: str, **record: Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((EVENTS / f"handle_event_{name}.json").read_text())
    if record:
        content["Records"] = [content["Records"][0] | record]
    return content


def waiting(services: Services, text: str) -> str:
    async def post() -> str:
        return (await posted(services, await new_session(services), text, BACKGROUND)).id

    return loop.run(post())


def state(services: Services, task_id: str) -> TaskState:
    return loop.run(services.store.read_task(ALICE, task_id)).state


def test_a_message_runs_its_task() -> None:
    services = process(MemoryStore(), Queue())
    task_id = waiting(services, "count to 3")
    answer = event_handler(services)(event("work", body=task_id), Context())
    assert answer == {"batchItemFailures": []}
    assert state(services, task_id) is TaskState.COMPLETED


def test_the_sample_message_is_for_a_task_that_is_gone() -> None:
    services = process(MemoryStore(), Queue())
    assert event_handler(services)(event("work"), Context()) == {"batchItemFailures": []}


def test_a_message_that_could_not_be_looked_after_comes_again() -> None:
    services = process(MemoryStore(), Queue())
    task_id = waiting(services, "count to 3")
    services.turns._agents = {}
    answer = event_handler(services)(event("work", body=task_id), Context())
    assert answer == {"batchItemFailures": [{"itemIdentifier": event("work")["Records"][0]["messageId"]}]}


def test_no_work_is_left_on_the_loop() -> None:
    services = process(MemoryStore(), Queue())
    task_id = waiting(services, "count to 3 every 20 ms")
    event_handler(services)(event("work", body=task_id), Context())
    assert loop._loop is not None
    assert asyncio.all_tasks(loop._loop) == set()


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

    task_id = loop.run(lose())
    clock.advance(seconds=LEASE / 1000)
    assert event_handler(services)(event("sweep"), Context()) is None
    assert state(services, task_id) is TaskState.FAILED


@pytest.mark.parametrize("unknown", [{}, {"Records": []}, {"Records": [{"eventSource": "aws:s3"}]}, {"source": "x"}])
def test_an_event_of_another_source_is_refused_and_told_which_there_are(unknown: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedEvent, match=r"aws:sqs, aws\.events"):
        event_handler(process(MemoryStore(), Queue()))(unknown, Context())
