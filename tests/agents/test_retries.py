"""When a model is tried again, and how long that takes."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hector.agents.failures import retry_after
from hector.agents.retries import Retries
from hector.errors import ModelError

ROOT = Path(__file__).parents[2]
BUSY = ModelError("model_overloaded", "busy", retry=True)


@given(attempt=st.integers(1, 40))
def test_pauses_are_random_and_bounded(attempt: int) -> None:
    retries = Retries(attempts=100, first=0.5, longest=10.0)
    pauses = {retries.pause(BUSY, attempt) for _ in range(20)}
    assert len(pauses) > 10
    assert all(pause is not None and 0 <= pause <= min(10.0, 0.5 * 2 ** (attempt - 1)) for pause in pauses)


def test_the_number_of_attempts_is_bounded() -> None:
    retries = Retries(attempts=3)
    assert [retries.pause(BUSY, attempt) is None for attempt in (1, 2, 3, 4)] == [False, False, True, True]


def test_what_may_have_been_paid_for_is_not_tried_again() -> None:
    assert Retries().pause(ModelError("model_timeout", "silent"), 1) is None


@pytest.mark.parametrize(("asked", "waits"), [(0.0, True), (3.0, True), (10.0, True), (10.5, False), (3600.0, False)])
def test_a_pause_that_is_asked_for_is_kept_or_refused(asked: float, waits: bool) -> None:
    pause = Retries(longest=10.0).pause(ModelError("model_throttled", "busy", retry=True, retry_after=asked), 1)
    assert (pause is not None) == waits
    assert pause is None or asked <= pause <= asked + 0.5


def test_retry_after_is_a_number_or_a_date() -> None:
    assert [retry_after(text) for text in (None, "", "7", "0.5", "-1", "soon")] == [None, None, 7, 0.5, 0, None]
    later = retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True))
    assert later is not None
    assert 50 < later <= 60
    assert retry_after("nan") is None


def test_every_code_is_in_the_documentation() -> None:
    raised: set[str] = set()
    for source in ("failures.py", "openai.py", "anthropic.py", "bedrock.py"):
        text = (ROOT / "layers/hector/hector/agents" / source).read_text()
        raised |= set(re.findall(r'"((?:model|content|context|unsupported|sdk)_[a-z]+(?:_[a-z]+)?)"', text))
    documented = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/models.md").read_text().split("## When")[1], re.M))
    assert documented == raised - {"content_filter", "content_block_delta", "model_context_window_exceeded"}
