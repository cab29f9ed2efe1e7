"""What the model is shown of a session: the newest messages, always as a valid conversation.

Valid means that roles alternate, starting with the user and ending with the agent, whatever happened to earlier turns:
a turn that failed or was canceled before it said anything leaves its message to be read with the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hector.model import Message, Role, Task


def conversation(ended: Iterable[Task], message: Message, *, window: int) -> tuple[tuple[Message, ...], Message]:
    """The history to show (at most `window` messages) and the user's message, of a turn that follows `ended`.

    `message` comes back with the unanswered messages before it in front, if there are any.
    """
    messages: list[Message] = []
    for task in ended:
        _join(messages, task.input)
        if task.output is not None and task.output.text.strip():
            _join(messages, task.output)
    _join(messages, message)
    *history, last = messages
    return tuple(_window(history, window)), last


def turns_needed(window: int) -> int:
    """How many turns have to be read to fill a window of messages; one more, in case the newest went unanswered."""
    return (window + 1) // 2 + 1


def _join(messages: list[Message], message: Message) -> None:
    if messages and messages[-1].role is message.role:
        messages[-1] = Message(message.role, messages[-1].parts + message.parts)
    else:
        messages.append(message)


def _window(history: Sequence[Message], window: int) -> Sequence[Message]:
    recent = history[max(0, len(history) - window) :] if window else ()
    return recent[1:] if recent and recent[0].role is Role.AGENT else recent
