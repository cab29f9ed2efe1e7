"""Run `module:function` for one turn, and print what it gives as JSON lines. Usage: run.py TARGET TEXT"""

from __future__ import annotations

import asyncio
import json
import sys

from hector.agents import Message, Role, Turn
from hector.agents.python import PythonAgent, load_target
from hector.model import Principal, Session


async def main(target: str, text: str) -> None:
    history = (Message.of(Role.USER, "My name is Alice"), Message.of(Role.AGENT, "Hello Alice"))
    session = Session("s", "a", Principal("p"), 0, 0, 0, 0, 0)
    turn = Turn("t", session, Message.of(Role.USER, text), history, "Be brief.")
    async for output in PythonAgent(load_target(target)).answer(turn):
        print(json.dumps({type(output).__name__: output._asdict()}), flush=True)


asyncio.run(main(*sys.argv[1:]))
