"""What workers and the checker have in common: the agent, the owner, shorter leases."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from unittest.mock import patch

from hector import claims, line, producer, recovery, worker
from hector.agents.base import Turn
from hector.agents.python import PythonAgent
from hector.config import store_at
from hector.config.settings import DEFAULTS, Settings
from hector.errors import AgentError
from hector.model import Principal, Role
from hector.services import Services
from hector.wiring import build, open_store
from tests.chaos.journal import Journal

LEASE_MS = 3_000
OWNER = Principal("owner", "chaos")
STRANGER = Principal("stranger", "chaos")
AGENT = "my_agent"


@contextmanager
def short_leases() -> Iterator[None]:
    """Leases that run out soon, in this process: killed workers are many."""
    with ExitStack() as patches:
        for module in (claims, producer, recovery, worker):
            patches.enter_context(patch.object(module, "LEASE", LEASE_MS))
        patches.enter_context(patch.object(producer, "RENEW_SECONDS", LEASE_MS / 3000))
        patches.enter_context(patch.object(line, "GRACE_SECONDS", 1.0))
        yield


class Talker:
    """An agent that notes every call of it, and what was wrong with the history that it was shown."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def answer(self, turn: Turn) -> AsyncIterator[str]:
        said, _, how = turn.text.partition(" ")
        self._journal.note("model", task=turn.task_id, said=said, problem=self._problem(turn))
        if how == "fail":
            raise AgentError("asked_to_fail", "as it was asked to")
        if how == "silent":
            await asyncio.sleep(3)
        for number in range(random.randint(1, 30)):
            yield f"{said}.{number} å\n"
            await asyncio.sleep(random.choice((0, 0.001, 0.02, 0.06)))

    @staticmethod
    def _problem(turn: Turn) -> str | None:
        roles = [message.role for message in turn.history]
        if roles != [Role.USER, Role.AGENT] * (len(roles) // 2):
            return f"roles do not alternate: {[role.value for role in roles]}"
        if any(not message.parts or not message.text.strip() for message in turn.history):
            return "a message is empty"
        return None


def services(url: str, journal: Journal) -> Services:
    settings = Settings.model_validate(
        {
            **DEFAULTS,
            "agents": {AGENT: {"llm": "builtin", "memory": {"messages": 10}, "turns": {"max_waiting": 5}}},
            "sessions": {"ttl": "1h"},
        }
    )
    built = build(settings, store=open_store(store_at(url, "the URL")))
    agents = {id_: replace(served, agent=PythonAgent(Talker(journal).answer)) for id_, served in built.agents.items()}
    built.turns._agents = agents
    return replace(built, agents=agents)
