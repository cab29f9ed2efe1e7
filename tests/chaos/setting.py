"""What workers and the checker have in common: the agent, the owner, shorter leases."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace

import hector.producer

LEASE_MS = 3_000
hector.producer.LEASE = LEASE_MS
hector.producer.RENEW_SECONDS = LEASE_MS / 3000

import hector.line  # noqa: E402 - what is imported from now on has the shorter lease
from hector.agents.base import Turn  # noqa: E402
from hector.agents.python import PythonAgent  # noqa: E402
from hector.config import store_at  # noqa: E402
from hector.config.settings import DEFAULTS, Settings  # noqa: E402
from hector.errors import AgentError  # noqa: E402
from hector.model import Principal, Role  # noqa: E402
from hector.services import Services  # noqa: E402
from hector.wiring import build, open_store  # noqa: E402
from tests.chaos.journal import Journal  # noqa: E402

hector.line.GRACE_SECONDS = 1.0

OWNER = Principal("owner", "chaos")
STRANGER = Principal("stranger", "chaos")
AGENT = "my_agent"


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
