"""The frames of a stream: what is written out for speed is what the encoder would write."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hector.dialects.native import event_data, event_frame
from hector.model import Event, EventKind, TaskState

TASK_ID = "812d8595-61eb-4d83-888e-39c14c295a6b-1a3185c5000277a653a"


def encoded(event: Event) -> str:
    data = json.dumps(event_data(TASK_ID, event), ensure_ascii=False, separators=(",", ":"))
    return f"id: {event.number}\nevent: {event.kind}\ndata: {data}\n\n"


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(1, 999_999))
def test_a_messages_frame_is_its_data_as_json(text: str, number: int) -> None:
    event = Event(number, EventKind.MESSAGE, text)
    assert event_frame(TASK_ID, event) == encoded(event)


@pytest.mark.parametrize("number", [1, 2])
def test_so_is_every_other_kind_of_frame(number: int) -> None:
    for event in (
        Event(number, EventKind.MESSAGE, 'a "quoted"\nline\u2028\\'),
        Event(number, EventKind.STATUS, "half", TaskState.WORKING, 0.5),
        Event(number, EventKind.STATUS, state=TaskState.COMPLETED),
        Event(number, EventKind.RESET),
    ):
        assert event_frame(TASK_ID, event) == encoded(event)


def test_the_first_frame_of_a_log_names_the_session() -> None:
    assert '"context_id":"812d8595-61eb-4d83-888e-39c14c295a6b"' in event_frame(
        TASK_ID, Event(1, EventKind.MESSAGE, "x")
    )
