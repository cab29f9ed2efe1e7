"""Turns as messages: a valid conversation, whatever happened to them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hector.history import conversation
from hector.model import Message, Part, Role, Task, TaskState
from tests.support import said

ANSWERS = st.lists(st.sampled_from(["answer", "", "  ", None]), max_size=12)
STATES = st.sampled_from([state for state in TaskState if state.terminal])


def turn(number: int, answer: str | None, state: TaskState = TaskState.COMPLETED) -> Task:
    output = None if answer is None else Message.of(Role.AGENT, answer)
    return Task(f"t{number}", "s", "a", state, said(f"question {number}"), 0, 0, output=output, turn=number)


@given(answers=ANSWERS, state=STATES)
def test_roles_alternate_from_user_to_agent_and_nothing_is_empty(answers: list[str | None], state: TaskState) -> None:
    history = conversation([turn(number, answer, state) for number, answer in enumerate(answers, 1)])
    assert [message.role for message in history] == [Role.USER, Role.AGENT] * len(answers)
    assert all(message.text.strip() for message in history)
    shown = [message.text for message in history if message.role is Role.USER]
    assert shown == [f"question {number}" for number in range(1, len(answers) + 1)], (
        "nothing that the user said is lost"
    )


def test_a_turn_without_an_answer_is_explained_to_the_model() -> None:
    ended = [turn(1, "hello"), turn(2, None, TaskState.CANCELED), turn(3, None, TaskState.FAILED)]
    assert [message.text for message in conversation(ended)] == [
        "question 1", "hello",
        "question 2", "[The user canceled this before there was an answer.]",
        "question 3", "[There was no answer, because of a failure.]",
    ]  # fmt: skip


def test_a_canceled_turn_keeps_what_it_said() -> None:
    history = conversation([turn(1, "I was about", TaskState.CANCELED)])
    assert [message.text for message in history] == ["question 1", "I was about"]


def test_an_empty_message_is_explained_too() -> None:
    question, _ = conversation([replace(turn(1, "What?"), input=said(" \n"))])
    assert question.text == "[The message was empty.]"


@pytest.mark.parametrize(
    ("state", "answer", "shown"),
    [
        (TaskState.COMPLETED, "a cat", True), (TaskState.COMPLETED, None, True), (TaskState.CANCELED, "a c", True),
        (TaskState.FAILED, "a c", True), (TaskState.FAILED, None, False), (TaskState.CANCELED, None, False),
    ],
)  # fmt: skip
def test_a_file_that_the_model_may_have_refused_is_not_shown_again(
    state: TaskState, answer: str | None, shown: bool
) -> None:
    picture = Part(raw=b"...", media_type="image/png", filename="cat.png")
    asked = replace(turn(1, answer, state), input=Message(Role.USER, (Part("what is it?"), picture)))
    question, _ = conversation([asked])
    assert question.parts == (Part("what is it?"), picture if shown else Part("[A file: cat.png, image/png]"))
