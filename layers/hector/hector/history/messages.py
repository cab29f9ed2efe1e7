"""Turns as messages: always a valid conversation.

Valid means that roles alternate, starting with the user and ending with the agent, whatever happened to earlier turns.
Each turn gives two messages; where one ended before the agent said anything, a note stands in for the answer, so that
the model neither loses what the user said nor takes it for part of the next message. Where nothing came back, the files
that the user sent are left out, too: they may be what the model refused, and would make it refuse every turn to come.
"""

from __future__ import annotations

from collections.abc import Iterable

from hector.model import Message, Role, Task, TaskState

_NOTES = {
    TaskState.CANCELED: "[The user canceled this before there was an answer.]",
    TaskState.FAILED: "[There was no answer, because of a failure.]",
}


def conversation(ended: Iterable[Task]) -> tuple[Message, ...]:
    """The messages of turns that have ended, two for each."""
    return tuple(message for task in ended for message in (_question(task), _answer(task)))


def _question(task: Task) -> Message:
    if not task.input.has_files and not task.input.text.strip():
        return Message.of(Role.USER, "[The message was empty.]")
    accepted = task.state is TaskState.COMPLETED or task.output is not None
    return task.input if accepted else task.input.without_files()


def _answer(task: Task) -> Message:
    if task.output is not None and task.output.text.strip():
        return task.output
    return Message.of(Role.AGENT, _NOTES.get(task.state, "[The answer was empty.]"))
