"""read_history: the newest turns that have ended, oldest first."""

from __future__ import annotations

import pytest

from hector.errors import NotFound
from hector.model import TaskState, new_session_id
from hector.stores.base import Outcome
from hector.testing.bench import DONE, Bench, nonce


async def test_holds_the_ended_turns_with_prompt_and_answer(bench: Bench) -> None:
    session = await bench.session()
    turns = [await bench.turn(session, f"question {number}") for number in range(3)]
    history = await bench.store.read_history(bench.principal, session.id, limit=10)
    assert history == turns
    assert [(task.input.text, task.output and task.output.text) for task in history] == [
        (f"question {number}", "answer") for number in range(3)
    ]


@pytest.mark.parametrize("limit", [0, 1, 2, 5, 6, 7])
async def test_has_the_newest_up_to_the_limit(bench: Bench, limit: int) -> None:
    session = await bench.session()
    turns = [await bench.turn(session) for _ in range(6)]
    history = await bench.store.read_history(bench.principal, session.id, limit=limit)
    assert history == turns[max(0, 6 - limit) :]


async def test_a_new_session_has_none(bench: Bench) -> None:
    session = await bench.session()
    assert await bench.store.read_history(bench.principal, session.id, limit=5) == []


async def test_holds_neither_waiting_nor_open_nor_canceled_tasks(bench: Bench) -> None:
    session = await bench.session()
    ended = await bench.turn(session)
    for _ in range(12):
        waiting = await bench.submitted(session)
        await bench.store.request_cancel(bench.principal, waiting.id)
    await bench.submitted(session)
    await bench.claimed(session)
    assert await bench.store.read_history(bench.principal, session.id, limit=2) == [ended]


@pytest.mark.parametrize("state", [TaskState.FAILED, TaskState.CANCELED])
async def test_holds_turns_that_ended_badly(bench: Bench, state: TaskState) -> None:
    session = await bench.session()
    ended = await bench.ended(await bench.claimed(session), Outcome(state, 0))
    assert await bench.store.read_history(bench.principal, session.id, limit=5) == [ended]


async def test_goes_by_the_order_in_which_turns_ran(bench: Bench) -> None:
    session = await bench.session()
    first, second, third = [await bench.submitted(session) for _ in range(3)]
    ran = [await bench.ended(await bench.claim(task)) for task in (third, first, second)]
    for limit in (1, 2, 3):
        assert await bench.store.read_history(bench.principal, session.id, limit=limit) == ran[3 - limit :]


async def test_a_turn_that_waited_long_is_still_found(bench: Bench) -> None:
    session = await bench.session()
    waiting = await bench.submitted(session)
    for _ in range(12):
        await bench.turn(session)
    newest = await bench.ended(await bench.claim(waiting))
    assert await bench.store.read_history(bench.principal, session.id, limit=1) == [newest]


async def test_holds_a_committed_turn_before_it_is_released(bench: Bench) -> None:
    session = await bench.session()
    ended = [await bench.turn(session)]
    ended.append(await bench.store.commit(await bench.claimed(session), DONE, nonce=nonce()))
    assert await bench.store.read_history(bench.principal, session.id, limit=2) == ended


async def test_reads_beyond_one_page_of_the_engine(bench: Bench) -> None:
    """DynamoDB's pages end at 1 MB."""
    session = await bench.session()
    turns = [await bench.turn(session, f"{number} " * 60_000) for number in range(10, 25)]
    assert await bench.store.read_history(bench.principal, session.id, limit=20) == turns


async def test_unknown_session(bench: Bench) -> None:
    with pytest.raises(NotFound):
        await bench.store.read_history(bench.principal, new_session_id(), limit=5)
