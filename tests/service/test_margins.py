"""The last seconds of an invocation are enough for what has to be done in them, however slow an agent is to close."""

from __future__ import annotations

import time
from typing import Any

import pytest

from hector.errors import StoreUnavailable
from hector.margins import ABORT_SECONDS, ANSWER_MARGIN_SECONDS, ENDING_SECONDS, MARGIN_SECONDS
from hector.model import TaskState
from hector.stores.memory import MemoryStore
from hector.turns import Asked
from response_streaming import loop
from tests.service.test_worker import Queue, process
from tests.support import ALICE, new_session, said, services_with, slow_to_close


def test_each_of_the_last_seconds_is_for_one_thing() -> None:
    assert ABORT_SECONDS < ENDING_SECONDS / 2, "the end has to be stored, too"
    assert MARGIN_SECONDS - ENDING_SECONDS < ANSWER_MARGIN_SECONDS < MARGIN_SECONDS - ABORT_SECONDS
    assert loop.LAST < MARGIN_SECONDS - ENDING_SECONDS, "what is left behind after that is ended"


@pytest.mark.parametrize("hands_over", [True, False])
async def test_an_agent_that_is_cut_by_its_invocation_has_what_is_left_of_it_to_close(hands_over: bool) -> None:
    services = process(MemoryStore(), Queue(), slow_to_close, hands_over=hands_over)
    session_id = await new_session(services)
    began = time.monotonic()
    task = await services.turns.start(ALICE, session_id, said("x"), asked=Asked(seconds_left=0.5))
    await services.turns.drain()
    assert ENDING_SECONDS - 0.1 < time.monotonic() - began - 0.5 < MARGIN_SECONDS - loop.LAST
    expected = TaskState.SUBMITTED if hands_over else TaskState.FAILED
    assert (await services.follow.task(ALICE, task.id)).state is expected


async def test_so_has_one_whose_turn_was_canceled_shortly_before() -> None:
    services = process(MemoryStore(), Queue(), slow_to_close)
    session_id = await new_session(services)
    began = time.monotonic()
    task = await services.turns.start(ALICE, session_id, said("x"), asked=Asked(seconds_left=1.5))
    await services.turns.cancel(ALICE, task.id)
    await services.turns.drain()
    assert time.monotonic() - began < 1.5 + MARGIN_SECONDS - loop.LAST
    assert (await services.follow.task(ALICE, task.id)).state is TaskState.CANCELED


async def test_a_store_that_is_away_at_the_end_is_waited_for_as_long_as_the_invocation_goes_on() -> None:
    class AwayStore(MemoryStore):
        async def append_events(self, *_: Any, **__: Any) -> Any:
            raise StoreUnavailable("away")

        async def commit(self, *_: Any, **__: Any) -> Any:
            raise StoreUnavailable("away")

    services = services_with(AwayStore())
    session_id = await new_session(services)
    began = time.monotonic()
    message = said("count to 100 every 50 ms")
    await services.turns.start(ALICE, session_id, message, asked=Asked(seconds_left=0.5))
    await services.turns.drain()
    assert ENDING_SECONDS - 0.5 < time.monotonic() - began - 0.5 < MARGIN_SECONDS
