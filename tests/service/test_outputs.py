"""Whatever an agent yields, its task ends at once, can be read again, and the session goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from hector.agents.base import Progress, Text, Truncated, Turn
from hector.dialects.native import task_json
from hector.errors import AgentError, HectorError, InputTooLarge
from hector.model import Message, Role, TaskState, Usage
from hector.stores.base import Outcome, Store
from hector.stores.memory import MemoryStore
from tests.support import ALICE, ask, new_session, services_with

WRONG: list[Any] = [
    Usage(Decimal(5), 3),  # type: ignore[arg-type]
    Usage(None, 3),  # type: ignore[arg-type]
    Usage(-1, 3),
    Truncated("nope"),  # type: ignore[arg-type]
    Progress("x", "half"),  # type: ignore[arg-type]
    Progress(5),  # type: ignore[arg-type]
    Text(5),  # type: ignore[arg-type]
]


class Raw:
    """An agent that hands on what it is given, unlike the one that calls Python functions."""

    def __init__(self) -> None:
        self.gives: list[Any] = []

    async def answer(self, turn: Turn) -> AsyncIterator[Any]:
        for output in self.gives:
            yield output

    async def aclose(self) -> None: ...


async def test_a_value_of_the_wrong_type_fails_its_turn_and_no_other(store: Store) -> None:
    agent = Raw()
    services = services_with(store, agent=agent)  # type: ignore[arg-type]
    session_id = await new_session(services)
    for wrong in WRONG:
        agent.gives = [Text("half"), wrong, Text("more")]
        task = await ask(services, session_id, "hello")
        assert task.error is not None
        assert (task.state, task.error.code) == (TaskState.FAILED, "agent_error")
        assert type(wrong).__name__ in task.error.message
        assert task.output == Message.of(Role.AGENT, "half")
    agent.gives = [Text("well"), Usage(1, 2)]
    assert (await ask(services, session_id, "hello")).state is TaskState.COMPLETED
    page = await services.store.list_tasks(ALICE, session_id)
    states = sorted(task_json(task)["status"]["state"] for task in page.items)
    assert states == ["completed", *["failed"] * len(WRONG)], "sorted: some of them ended in the same millisecond"


async def test_an_agents_own_error_is_stored_as_text(store: Store) -> None:
    async def answer(turn: Turn) -> AsyncIterator[str]:
        yield "half"
        raise AgentError(404, Decimal(5))  # type: ignore[arg-type]

    services = services_with(store, agent=answer)
    task = await ask(services, await new_session(services), "hello")
    assert task.error == ("404", "5")


class Unwilling(MemoryStore):
    """A store that cannot keep one kind of end."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    async def commit(self, lease: Any, outcome: Outcome, *, nonce: str) -> Any:
        if outcome.state is TaskState.COMPLETED:
            raise self._error
        return await super().commit(lease, outcome, nonce=nonce)


@pytest.mark.parametrize("error", [TypeError("not this"), HectorError("a mistake"), InputTooLarge("too large")])
async def test_an_end_that_cannot_be_stored_becomes_a_failure_at_once(error: Exception) -> None:
    services = services_with(Unwilling(error))
    session_id = await new_session(services)
    task = await ask(services, session_id, "hello")
    assert task.error is not None
    assert (task.state, task.error.code) == (TaskState.FAILED, "internal")
    assert (await services.store.read_session(ALICE, session_id)).open_task_id is None
