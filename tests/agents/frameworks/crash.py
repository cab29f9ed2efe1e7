"""Two turns of one session: in the first the worker dies while a tool is running, the second is answered.

Prints the answer, in which the model says all that it is shown. Usage: crash.py TARGET
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import my_tools

from hector.config.settings import Settings
from hector.errors import StoreUnavailable
from hector.log_writer import LEASE
from hector.model import Message, Principal, Role, Task
from hector.services import Services
from hector.stores.memory import MemoryStore
from hector.wiring import build

WHO = Principal("alice")


class Gone:
    def __getattr__(self, name: str) -> Any:
        raise StoreUnavailable("This worker is dead.")


async def main(target: str) -> None:
    now = 1_800_000_000_000
    store = MemoryStore(lambda: now)
    settings = Settings.model_validate(
        {"llms": {"mine": {"type": "python", "target": target}}, "agents": {"a": {"llm": "mine"}}}
    )
    first = build(settings, store=store, clock=lambda: now)
    session = await first.turns.create_session(WHO, "a")
    my_tools.hangs = True
    await ask(first, session.id, "What is the weather?")
    while not my_tools.began.is_set():
        await asyncio.sleep(0.01)
    for running, producer in first.turns._running._producers.items():
        producer._store = Gone()
        running.cancel()
    my_tools.hangs = False
    now += LEASE
    second = build(settings, store=store, clock=lambda: now)
    task = await second.follow.ended(WHO, await ask(second, session.id, "Go on."))
    print(task.output.text if task.output else task.error)


async def ask(services: Services, session_id: str, text: str) -> Task:
    return await services.turns.start(WHO, session_id, Message.of(Role.USER, text))


asyncio.run(main(sys.argv[1]))
