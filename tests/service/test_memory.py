"""A conversation that is longer than its window: summarised by the agent itself, once, and remembered everywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hector.agents.base import Turn
from hector.copies import fork
from hector.errors import AgentError, StoreUnavailable
from hector.model import EventKind, Summary, Task, TaskState, Usage
from hector.services import Services
from hector.stores.base import Lease, Store
from hector.stores.memory import MemoryStore
from tests.support import ALICE, ask, events_of, new_session, said, services_with, wait_until

NOTE = "Summarising the earlier conversation"


def remembering(store: Store | None = None, *, agent: Any = None, **memory: Any) -> Services:
    memory = memory or {"messages": 4}
    agents = {"my_agent": {"llm": "builtin", "memory": {"strategy": "summary", **memory}}}
    return services_with(store, agent=agent, agents=agents)


class Summariser:
    """An agent that notes what it is given, and can be made to fail, hang or say nothing where it summarises."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.summaries: list[Turn] = []
        self.instead: BaseException | float | str | None = None

    async def __call__(self, turn: Turn) -> AsyncIterator[Any]:
        (self.summaries if turn.summarises else self.turns).append(turn)
        if not turn.summarises:
            yield "ok"
            yield Usage(5, 1)
            return
        yield Usage(50, 10)
        match self.instead:
            case BaseException():
                raise self.instead
            case float():
                await asyncio.sleep(self.instead)
            case _:
                yield "it was about trains" if self.instead is None else self.instead


async def test_the_builtin_agent_remembers_what_is_long_out_of_its_window(store: Store) -> None:
    services = remembering(store)
    session_id = await new_session(services)
    await ask(services, session_id, "My name is Alice")
    for number in range(6):
        await ask(services, session_id, f"and {number}")
    task = await ask(services, session_id, "What is my name?")
    assert task.output is not None
    assert task.output.text == "Your name is Alice."
    summary = await store.read_summary(ALICE, session_id)
    assert summary is not None
    assert summary.text.startswith("The user said: “My name is Alice”\nThe user said: “and 0”")


async def test_a_window_alone_forgets_it() -> None:
    services = services_with(agents={"my_agent": {"llm": "builtin", "memory": {"messages": 4}}})
    session_id = await new_session(services)
    for text in ("My name is Alice", "one", "two", "three"):
        await ask(services, session_id, text)
    task = await ask(services, session_id, "What is my name?")
    assert task.output is not None
    assert task.output.text == "You have not told me your name yet."


async def test_each_part_is_summarised_once_and_another_process_goes_on_with_it(store: Store) -> None:
    agent = Summariser()
    services = remembering(store, agent=agent)
    session_id = await new_session(services)
    for number in range(1, 7):
        await ask(services, session_id, f"message {number}")
    other = Summariser()
    services = remembering(store, agent=other)
    for number in range(7, 11):
        await ask(services, session_id, f"message {number}")
    parts = [[message.text for message in turn.history[::2]] for turn in (*agent.summaries, *other.summaries)]
    assert parts == [[f"message {number}", f"message {number + 1}"] for number in (1, 3, 5, 7)]
    assert [turn.summary for turn in agent.turns[:3]] == [None] * 3
    assert other.turns[0].summary == "it was about trains"
    assert other.turns[0].system == ("What was said earlier in this conversation, in short:\nit was about trains")


async def test_clients_are_told_and_the_cost_is_the_turns() -> None:
    services = remembering(agent=Summariser())
    session_id = await new_session(services)
    for number in range(3):
        task = await ask(services, session_id, f"message {number}")
        assert task.usage == Usage(5, 1)
    task = await ask(services, session_id, "message 3")
    assert task.usage == Usage(55, 11)
    events = await events_of(services, task)
    assert [(event.kind, event.text) for event in events[:2]] == [(EventKind.STATUS, NOTE), (EventKind.MESSAGE, "ok")]


@pytest.mark.parametrize("instead", [AgentError("model_overloaded", "no"), ValueError("a bug"), "", " \n"])
async def test_a_turn_goes_on_without_a_summary_that_cannot_be_made(instead: Any) -> None:
    agent = Summariser()
    agent.instead = instead
    services = remembering(agent=agent)
    session_id = await new_session(services)
    for number in range(4):
        task = await ask(services, session_id, f"message {number}")
    assert task.state is TaskState.COMPLETED
    assert task.usage == Usage(55, 11), "it was paid for"
    assert [message.text for message in agent.turns[-1].history] == ["message 1", "ok", "message 2", "ok"]
    assert agent.turns[-1].summary is None
    assert await services.store.read_summary(ALICE, session_id) is None


async def test_a_summary_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hector.history.recall._SUMMARY_SECONDS", 0.1)
    agent = Summariser()
    agent.instead = 60.0
    services = remembering(agent=agent)
    session_id = await new_session(services)
    for number in range(4):
        task = await ask(services, session_id, f"message {number}")
    assert task.state is TaskState.COMPLETED
    assert len(agent.summaries) == 1


async def test_canceling_reaches_a_summary_and_the_next_turn_makes_it_again() -> None:
    agent = Summariser()
    agent.instead = 60.0
    services = remembering(agent=agent)
    session_id = await new_session(services)
    for number in range(3):
        await ask(services, session_id, f"message {number}")
    task = await services.turns.start(ALICE, session_id, said("message 3"))
    await wait_until(lambda: len(agent.summaries) == 1)
    await services.turns.cancel(ALICE, task.id)
    ended = await services.follow.ended(ALICE, task)
    assert (ended.state, len(agent.turns)) == (TaskState.CANCELED, 3)
    assert await services.store.read_summary(ALICE, session_id) is None
    agent.instead = None
    await ask(services, session_id, "message 4")
    assert agent.summaries[1].history[0].text == "message 0"
    assert agent.turns[-1].summary == "it was about trains"
    assert agent.turns[-1].history[-1].text == "[The user canceled this before there was an answer.]"


async def test_a_summary_that_cannot_be_stored_is_used_all_the_same() -> None:
    class Full(MemoryStore):
        async def save_summary(self, lease: Lease, summary: Summary) -> None:
            raise StoreUnavailable("full")

    agent = Summariser()
    services = remembering(Full(), agent=agent)
    session_id = await new_session(services)
    for number in range(4):
        task = await ask(services, session_id, f"message {number}")
    assert task.state is TaskState.COMPLETED
    assert agent.turns[-1].summary == "it was about trains"


async def test_a_store_that_is_away_while_more_is_read_fails_the_turn_and_the_session_goes_on() -> None:
    class Away(MemoryStore):
        away = False

        async def read_history(self, *arguments: Any, limit: int) -> list[Task]:
            if self.away and limit > 10:
                raise StoreUnavailable("away")
            return await super().read_history(*arguments, limit=limit)

    store = Away()
    services = services_with(
        store, agents={"my_agent": {"llm": "builtin", "memory": {"strategy": "tokens", "tokens": 1000}}}
    )
    source = await new_session(services)
    for number in range(20):
        await ask(services, source, f"message {number} " + "word " * 10)
    services = services_with(
        store, agents={"my_agent": {"llm": "builtin", "memory": {"strategy": "tokens", "tokens": 1000}}}
    )
    store.away = True
    task = await ask(services, source, "hello")
    assert task.error is not None
    assert task.error.code == "history_unavailable"
    store.away = False
    assert (await ask(services, source, "hello")).state is TaskState.COMPLETED


async def test_a_fork_starts_without_a_summary_and_makes_its_own(store: Store) -> None:
    agent = Summariser()
    services = remembering(store, agent=agent)
    session_id = await new_session(services)
    for number in range(4):
        await ask(services, session_id, f"message {number}")
        await asyncio.sleep(0.002)  # a copy goes by the tasks' ids, which sort by milliseconds
    assert await store.read_summary(ALICE, session_id) is not None
    forked = await fork(store, services.turns, ALICE, session_id)
    assert await store.read_summary(ALICE, forked.id) is None
    made = len(agent.summaries)
    await ask(services, forked.id, "message 4")
    assert agent.summaries[made].history[0].text == "message 0"
    assert agent.turns[-1].summary == "it was about trains"


async def test_two_round_trips_before_the_model_is_called() -> None:
    class Slow(MemoryStore):
        """Notes which calls are made while no other one is under way."""

        rounds: list[set[str]] = []  # noqa: RUF012
        under_way = 0

        def __getattribute__(self, name: str) -> Any:
            found = super().__getattribute__(name)
            if name not in ("read_session", "read_history", "read_summary", "submit", "claim"):
                return found

            async def slowly(*arguments: Any, **options: Any) -> Any:
                if self.under_way == 0:
                    self.rounds.append(set())
                self.under_way += 1
                self.rounds[-1].add(name)
                await asyncio.sleep(0.05)
                self.under_way -= 1
                return await found(*arguments, **options)

            return slowly

    agent = Summariser()
    store = Slow()
    services = remembering(store, agent=agent, tokens=1000)
    session_id = await new_session(services)
    for number in range(3):
        await ask(services, session_id, f"message {number}")
    store.rounds.clear()
    await services.turns.start(ALICE, session_id, said("go"))
    await wait_until(lambda: len(agent.turns) == 4)
    assert store.rounds[:2] == [{"read_session", "read_history", "read_summary"}, {"submit", "claim"}]
    assert len(store.rounds) == 2
    await services.turns.drain()
