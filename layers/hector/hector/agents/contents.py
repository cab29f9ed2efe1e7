"""Messages with images and documents, as the content blocks of a model's API."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any

from hector.agents.base import Turn
from hector.agents.failures import unsupported
from hector.model import Part, Role

ROLES = {Role.USER: "user", Role.AGENT: "assistant"}
Block = dict[str, Any]


def with_blocks(
    turn: Turn, text: Callable[[str], Block], file: Callable[[Part], Block | None], *, takes: str
) -> list[tuple[str, list[Block]]]:
    """The messages of a turn as roles and blocks. `file` gives None for what the API cannot be sent.

    Such a file in the user's message raises ModelError, which says what the API `takes`; an earlier one, sent before
    another model was configured, say, becomes a note, so that the session can go on.
    """
    messages = []
    for message in turn.shown:
        blocks = []
        for index, part in enumerate(message.parts):
            block = text(part.text) if part.text is not None else file(part)
            if block is None:
                if message is turn.message:
                    how = "by url" if part.raw is None else "as bytes"
                    raise unsupported(
                        f"This agent cannot be sent {part.media_type} {how} (part {index} of the message). "
                        f"It takes text, and {takes}."
                    )
                block = text(part.note)
            blocks.append(block)
        messages.append((ROLES[message.role], blocks))
    return messages


def base64_of(part: Part) -> str:
    return b64encode(part.raw or b"").decode()


def decoded(part: Part) -> str | None:
    """A text file's text; None if it is none, or not UTF-8."""
    if part.raw is None or not part.media_type.startswith("text/"):
        return None
    try:
        return part.raw.decode()
    except UnicodeDecodeError:
        return None
