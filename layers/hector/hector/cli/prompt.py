"""The prompt of a chat: line editing, and a history that is there the next time, by prompt_toolkit."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent


class Prompt:
    """`read()` gives one line (or what was pasted); Ctrl-C clears it, Ctrl-D on an empty one raises EOFError."""

    def __init__(self, prompt: str, commands: Sequence[str]) -> None:
        keys = KeyBindings()

        @keys.add("c-c")
        @keys.add("<sigint>")
        def _clear(event: KeyPressEvent) -> None:
            event.current_buffer.reset()

        self._session: PromptSession[str] = PromptSession(
            prompt,
            history=_history(),
            completer=WordCompleter(list(commands), sentence=True),
            complete_while_typing=False,
            key_bindings=keys,
            enable_suspend=True,
        )

    def read(self, runner: asyncio.Runner) -> str:
        return runner.run(self._session.prompt_async())


def history_file() -> Path:
    """By the XDG Base Directory Specification, under $XDG_STATE_HOME."""
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "hector" / "history"


def _history() -> History:
    """Only its owner can read the file; where none can be written, the history lasts as long as the chat."""
    try:
        file = history_file()
        file.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
    except (OSError, RuntimeError):
        return InMemoryHistory()
    return FileHistory(file)
