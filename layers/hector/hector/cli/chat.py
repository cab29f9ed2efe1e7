"""`hector chat`: prompt, answer, and so on, in a session that goes on."""

from __future__ import annotations

import asyncio
import re
import sys
from typing import Any, Protocol

from hector.cli.answer import show
from hector.cli.client import Client
from hector.cli.exits import COMPLETED, FAILED, SessionGone
from hector.cli.screens import complain, screen
from hector.cli.sessions import new_session, session_with
from hector.cli.stream import TaskStream
from hector.cli.tables import print_pairs, tokens
from hector.cli.terminal import dumb, unechoed
from hector.errors import HectorError

PROMPT = "you> "
COMMANDS = {
    "/help": "these commands",
    "/info": "the agent, the session, its turns and tokens",
    "/clear": "begin a new session",
    "/quit": "end the chat; so does Ctrl-D",
}
_COMMAND = re.compile(r"/[a-z]+")
GONE = (
    "This session is gone (ended, expired, or the server kept it in memory and was restarted). /clear begins a new one."
)
LOOK_SECONDS = 2.0
"""For so long the server is waited for where only a courtesy depends on its answer."""


class Reader(Protocol):
    def read(self, runner: asyncio.Runner) -> str:
        """The next line. Raises EOFError."""


class LineReader:
    """Lines of standard input as they come; on a terminal that can do no more, after a prompt."""

    def __init__(self, prompt: str = "") -> None:
        self._prompt = prompt

    def read(self, runner: asyncio.Runner) -> str:
        while True:
            try:
                print(self._prompt, end="", flush=True)
                line = sys.stdin.readline()
            except KeyboardInterrupt:
                if not self._prompt:
                    raise
                print()  # the terminal has cleared its line
                continue
            if not line:
                raise EOFError
            return line


class Chat:
    """`session_id` is None until the first message, and after /clear; `lasting` as the client's."""

    def __init__(self, client: Client, agent: dict[str, Any], session_id: str | None) -> None:
        self._client = client
        self._agent = agent
        self.session_id = session_id
        self.lasting = client.lasting

    async def answer(self, text: str) -> str:
        """Say it, show the answer; the task's final state."""
        if self.session_id is None:
            self.session_id = await new_session(self._client, self._agent["agentId"])
        return await show(self._client, TaskStream.saying(self._client, self.session_id, text), screen())

    async def command(self, name: str) -> None:
        match name:
            case "/help":
                print_pairs(COMMANDS)
                print("Ctrl-C cancels the answer that is running, and clears the line at the prompt.")
            case "/info":
                print_pairs(await self._info())
            case "/clear":
                left = None if await self.is_gone() else self.session_id
                self.session_id = None
                print("A new session begins with your next message." + (f" You leave {left}." if left else ""))
            case _:
                print(f"There is no command {name}; /help lists them.")

    async def is_gone(self) -> bool:
        """Whether there is a session that was begun and is no more, as far as that can be learned at once."""
        if self.session_id is None:
            return False
        try:
            await asyncio.wait_for(self._client.get("sessions", self.session_id), LOOK_SECONDS)
        except SessionGone:
            return True
        except (HectorError, TimeoutError):
            pass
        return False

    async def _info(self) -> dict[str, object]:
        about: dict[str, object] = {
            "agent": f"{self._agent['agentId']} ({self._agent['name']})",
            "where": self._client.place,
        }
        if self.session_id is None:
            return about | {"session": "none yet: it begins with your next message"}
        session, tasks = await asyncio.gather(
            self._client.get("sessions", self.session_id),
            self._client.listing("tasks", limit=sys.maxsize, sessionId=self.session_id),
        )
        used = [spent for task in tasks["items"] if (spent := tokens(task))]
        read, written = (sum(spent[kind] for spent in used) for kind in (0, 1))
        return about | {
            "session": session["sessionId"],
            "expires": session["expiresAt"],
            "turns": session["turns"],
            "tokens": f"{read:,} in, {written:,} out" if used else None,
        }


async def open_chat(client: Client, agent_id: str, session_id: str | None) -> Chat:
    """Raises NotFound for the agent or the session, ConfigError for a session with another agent."""
    agent = await client.get("agents", agent_id)
    if session_id is not None:
        await session_with(client, session_id, agent_id)
    return Chat(client, agent, session_id)


def converse(runner: asyncio.Runner, chat: Chat) -> int:
    """Talk until the input ends; the exit code. Between terminals an error is said, and the chat goes on."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return _piped(runner, chat)
    reader: Reader = LineReader(PROMPT)
    if not dumb():
        from hector.cli.prompt import Prompt

        reader = Prompt(PROMPT, list(COMMANDS))
    print("Ctrl-C cancels an answer, Ctrl-D ends; /help has more.")
    while (text := _read(runner, reader)) is not None:
        try:
            with unechoed():
                runner.run(_respond(chat, text))
        except KeyboardInterrupt:
            print("(canceled)")
        except SessionGone:
            complain(GONE)
        except HectorError as error:
            complain(error.message)
    if chat.session_id is not None and chat.lasting and not runner.run(chat.is_gone()):
        print(f"Go on another time with --session {chat.session_id}")
    return COMPLETED


def _piped(runner: asyncio.Runner, chat: Chat) -> int:
    """FAILED if any answer failed; an error ends it."""
    code, reader = COMPLETED, LineReader()
    while (text := _read(runner, reader)) is not None:
        if runner.run(_respond(chat, text)) not in ("completed", None):
            code = FAILED
    return code


def _read(runner: asyncio.Runner, reader: Reader) -> str | None:
    """What to do next; None at the end."""
    try:
        text = reader.read(runner).strip()
    except EOFError:
        return None
    return None if text == "/quit" else text


async def _respond(chat: Chat, text: str) -> str | None:
    if _COMMAND.fullmatch(text):
        await chat.command(text)
        return None
    return await chat.answer(text) if text else None
