"""What the model is shown is a valid conversation, whatever happened to earlier turns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hector.history import conversation, turns_needed
from hector.model import Message, Role, Task, TaskState
from tests.support import said

ANSWERS = st.sampled_from(["answer", "", "  ", None])


def turn(number: int, answer: str | None, state: TaskState = TaskState.COMPLETED) -> Task:
    output = None if answer is None else Message.of(Role.AGENT, answer)
    return Task(f"t{number}", "s", "a", state, said(f"question {number}"), 0, 0, output=output, turn=number)


@given(answers=st.lists(ANSWERS, max_size=12), window=st.integers(0, 12))
def test_roles_alternate_from_user_to_agent(answers: list[str | None], window: int) -> None:
    ended = [turn(number, answer) for number, answer in enumerate(answers, 1)]
    history, message = conversation(ended, said("now"), window=window)
    roles = [m.role for m in history]
    assert roles == [Role.USER, Role.AGENT] * (len(roles) // 2)
    assert message.role is Role.USER
    assert message.parts[-1].text == "now"
    assert len(history) <= window


@given(answers=st.lists(ANSWERS, max_size=12))
def test_nothing_that_the_user_said_is_lost(answers: list[str | None]) -> None:
    ended = [turn(number, answer) for number, answer in enumerate(answers, 1)]
    history, message = conversation(ended, said("now"), window=1000)
    shown = [part.text for m in (*history, message) if m.role is Role.USER for part in m.parts]
    assert shown == [*(f"question {number}" for number in range(1, len(answers) + 1)), "now"]


def test_an_unanswered_message_is_read_with_the_next_one() -> None:
    ended = [turn(1, "hello"), turn(2, None, TaskState.FAILED)]
    history, message = conversation(ended, said("still there?"), window=10)
    assert [m.text for m in history] == ["question 1", "hello"]
    assert message.text == "question 2\n\nstill there?"


def test_a_canceled_turn_keeps_what_it_said() -> None:
    history, _ = conversation([turn(1, "I was about", TaskState.CANCELED)], said("go on"), window=10)
    assert [m.text for m in history] == ["question 1", "I was about"]


@given(window=st.integers(0, 100))
def test_enough_turns_are_read_to_fill_the_window(window: int) -> None:
    count = turns_needed(window)
    ended = [turn(number, "answer") for number in range(1, count + 1)]
    history, _ = conversation(ended, said("now"), window=window)
    assert len(history) == window - window % 2
