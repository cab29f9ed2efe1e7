"""Ids, states and texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hector.model import Message, Part, Role, TaskState, clean_text, is_id, new_session_id, new_task_id, session_id_of


@given(now=st.integers(0, 2**43))
def test_a_task_id_names_its_session(now: int) -> None:
    session_id = new_session_id()
    task_id = new_task_id(session_id, now)
    assert is_id(task_id)
    assert session_id_of(task_id) == session_id


@given(first=st.integers(0, 2**43), second=st.integers(0, 2**43))
def test_task_ids_sort_by_time(first: int, second: int) -> None:
    earlier, later = sorted((first, second))
    if earlier < later:
        assert new_task_id("s", earlier) < new_task_id("s", later)


@given(text=st.text())
def test_any_text_can_be_asked_for_its_session(text: str) -> None:
    assert session_id_of(text) is None or text.startswith(session_id_of(text) or "")


def test_what_is_no_id() -> None:
    for text in ("", "a/b", "a b", "é", "x" * 101, "a\n", "#"):
        assert not is_id(text)


def test_final_states_are_final() -> None:
    assert [state for state in TaskState if not state.terminal] == [TaskState.SUBMITTED, TaskState.WORKING]


@given(text=st.text(alphabet=st.characters(codec=None, categories=None)))
def test_cleaned_text_can_be_sent(text: str) -> None:
    clean_text(text).encode()


def test_only_lone_surrogates_are_replaced() -> None:
    assert clean_text("a\ud800b") == "a\ufffdb"
    assert clean_text("\ud83d\ude00") == "😀"
    assert clean_text("héllo 😀") == "héllo 😀"


def test_a_part_is_exactly_one_of_text_bytes_and_url() -> None:
    for given_ in ({}, {"text": "a", "raw": b"a"}, {"raw": b"a", "url": "u"}, {"text": "", "url": ""}):
        with pytest.raises(ValueError, match="exactly one of"):
            Part(**given_)
    assert Message(Role.USER, (Part("a"), Part(url="u", media_type="image/png"), Part("b"))).text == "a\n\nb"
