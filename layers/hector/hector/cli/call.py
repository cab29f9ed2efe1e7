"""`hector call`: one message, one answer."""

from __future__ import annotations

import sys

from hector.cli.answer import show
from hector.cli.client import Client
from hector.cli.screens import SilentScreen, screen
from hector.cli.sessions import new_session, session_with
from hector.cli.stream import TaskStream
from hector.cli.tables import print_json
from hector.errors import ConfigError
from hector.model import TurnPolicy


def prompt_text(argument: str | None) -> str:
    """The prompt, from standard input if it is `-`, or absent with something piped in. Raises ConfigError."""
    if argument is None and sys.stdin.isatty():
        raise ConfigError("PROMPT is missing: give it as an argument, or pipe it in.")
    try:
        if argument is None or argument == "-":
            text = sys.stdin.buffer.read().decode("utf-8").rstrip("\r\n")
        else:
            text = argument
            text.encode("utf-8")
    except UnicodeError:
        raise ConfigError("PROMPT is not UTF-8 text.") from None
    if not text.strip():
        raise ConfigError("PROMPT is empty: say something.")
    return text


async def ask(
    client: Client,
    agent_id: str,
    text: str,
    session_id: str | None,
    policy: TurnPolicy | None,
    *,
    stream: bool,
    as_json: bool,
) -> str:
    """The final state of the task. Raises NotFound, Refused, Unreachable, NotCanceled, ConfigError."""
    if session_id is None:
        session_id = await new_session(client, agent_id)
    else:
        await session_with(client, session_id, agent_id)
    saying = TaskStream.saying(client, session_id, text, policy)
    state = await show(client, saying, SilentScreen() if as_json else screen(streaming=stream))
    if as_json:
        print_json(await client.get("tasks", saying.task_id or ""))
    return state
