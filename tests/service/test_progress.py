"""Who polls a task that runs sees its newest note about progress, from any process, for no read more."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from hector.agents.base import Progress
from hector.dialects.native import event_data, task_json
from hector.follow import Follow
from hector.live import LiveLogs
from hector.model import Event, Task
from hector.services import Services
from hector.stores.base import Store
from tests.support import ALICE, new_session, said, services_with


def elsewhere(services: Services) -> Services:
    """The same store as another process has it."""
    return replace(services, follow=Follow(services.store, LiveLogs(), services.follow._recovery))


async def seen(services: Services, task: Task, number: int) -> tuple[Task, Event | None]:
    """The task, once so many of its events are in the store."""
    async with asyncio.timeout(10):
        while len((await services.store.read_events(ALICE, task.id, after=0)).events) < number:
            await asyncio.sleep(0.02)
    return await services.follow.task_and_note(ALICE, task.id)


async def test_the_newest_note_is_told_as_the_stream_tells_it(store: Store) -> None:
    go_on = asyncio.Event()

    async def answer(turn: Any) -> AsyncIterator[Any]:
        yield Progress("reading", 0.25)
        yield "A piece"
        yield Progress("writing", 0.5)
        yield " and another"
        await go_on.wait()

    services = services_with(store, agent=answer)
    task = await services.turns.start(ALICE, await new_session(services), said("go"))
    for reader in (services, elsewhere(services)):
        running, note = await seen(reader, task, 4)
        assert note is not None
        told = task_json(running, note)["status"]
        assert told.pop("timestamp")
        assert told == event_data(task.id, note)["status"]
        assert told == {"state": "working", "message": "writing", "fraction": 0.5}
    go_on.set()
    ended = await services.follow.ended(ALICE, task)
    assert await elsewhere(services).follow.task_and_note(ALICE, task.id) == (ended, None)
    assert task_json(ended)["status"].keys() == {"state", "timestamp"}


@pytest.mark.parametrize("pieces", [1, 1000])
async def test_it_costs_no_read_more_and_of_a_long_log_nothing_is_told(
    pieces: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = asyncio.Event()

    async def answer(turn: Any) -> AsyncIterator[Any]:
        yield Progress("reading")
        for _ in range(pieces):
            yield "x"
        await go_on.wait()

    services = services_with(agent=answer)
    task = await services.turns.start(ALICE, await new_session(services), said("go"))
    _, note = await seen(services, task, min(pieces, 999) + 1)
    assert note is not None, "the process that runs it knows all of its log"
    calls: Counter[str] = Counter()

    def counted(name: str) -> Any:
        read = getattr(services.store, name)

        async def call(*args: Any, **options: Any) -> Any:
            calls[name] += 1
            return await read(*args, **options)

        return call

    for name in ("read_task", "read_events"):
        monkeypatch.setattr(services.store, name, counted(name))
    _, note = await elsewhere(services).follow.task_and_note(ALICE, task.id)
    assert calls == {"read_task": 1, "read_events": 1}
    assert (note and note.text) == ("reading" if pieces == 1 else None)
    calls.clear()
    await services.follow.task_and_note(ALICE, task.id)
    assert calls == {"read_task": 1}
    go_on.set()
    await services.follow.ended(ALICE, task)
    calls.clear()
    await elsewhere(services).follow.task_and_note(ALICE, task.id)
    assert calls == {"read_task": 1}
