"""stage_turns, unstage: turns that ended elsewhere, seen by nobody until their session is created."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hector.errors import NotFound
from hector.model import (
    Message,
    Role,
    Session,
    StopReason,
    Task,
    TaskError,
    TaskState,
    Usage,
    new_session_id,
    new_task_id,
)
from hector.stores.base import Idempotency, StagedTurn
from hector.testing.bench import Bench, nonce, pieces, said
from hector.testing.contract.session_keys import new


def ended(session: Session, turn: int) -> StagedTurn:
    task = Task(
        id=new_task_id(session.id, session.created_at - 1000 + turn),
        session_id=session.id,
        agent_id=session.agent_id,
        state=TaskState.FAILED if turn == 2 else TaskState.COMPLETED,
        input=said(f"question {turn}"),
        created_at=session.created_at - 1000 + turn,
        updated_at=session.created_at - 900 + turn,
        output=Message.of(Role.AGENT, "piece 1 "),
        usage=Usage(1, 2),
        error=TaskError("code", "message") if turn == 2 else None,
        stop_reason=StopReason.MAX_TOKENS if turn == 3 else None,
        turn=turn,
        last_event=1,
    )
    return StagedTurn(task, pieces(1, 1))


async def staged(bench: Bench, count: int) -> tuple[Session, list[Task]]:
    session = replace(new(bench), turns=count)
    turns = [ended(session, number + 1) for number in range(count)]
    await bench.store.stage_turns(session, turns[:2])
    await bench.store.stage_turns(session, turns[2:])
    return session, [turn.task for turn in turns]


async def unseen(bench: Bench, session: Session, task: Task) -> None:
    for call in (
        bench.store.read_session(bench.principal, session.id),
        bench.store.read_history(bench.principal, session.id, limit=5),
        bench.store.list_tasks(bench.principal, session.id),
        bench.store.read_task(bench.principal, task.id),
        bench.store.read_events(bench.principal, task.id, after=0),
        bench.store.delete_session(bench.principal, session.id),
    ):
        with pytest.raises(NotFound):
            await call
    assert (await bench.store.list_sessions(bench.principal)).items == []


@pytest.mark.parametrize("key", [None, Idempotency("key", "fingerprint")])
async def test_they_are_seen_once_the_session_is_created_and_it_goes_on(bench: Bench, key: Idempotency | None) -> None:
    session, tasks = await staged(bench, 5)
    await unseen(bench, session, tasks[0])
    assert await bench.store.create_session(session, idempotency=key) == session
    other = bench.another()
    assert await other.read_session(bench.principal, session.id) == session
    assert await other.read_history(bench.principal, session.id, limit=4) == tasks[1:]
    assert (await other.list_tasks(bench.principal, session.id)).items == tasks[::-1]
    for task in tasks:
        assert await other.read_task(bench.principal, task.id) == task
        page = await other.read_events(bench.principal, task.id, after=0)
        assert (page.events, page.open) == (pieces(1, 1), False)
    next_one = await bench.turn(session)
    assert next_one.turn == 6
    assert await other.read_history(bench.principal, session.id, limit=10) == [*tasks, next_one]
    assert (await bench.store.submit(tasks[0], nonce=nonce())).created is False
    await bench.store.delete_session(bench.principal, session.id)
    await unseen(bench, session, tasks[0])


async def test_what_is_unstaged_is_gone(bench: Bench) -> None:
    session, tasks = await staged(bench, 3)
    await bench.store.unstage(session)
    await bench.store.unstage(replace(session, id=new_session_id()))
    await bench.store.create_session(replace(session, turns=0))
    assert (await bench.store.list_tasks(bench.principal, session.id)).items == []
    with pytest.raises(NotFound):
        await bench.store.read_task(bench.principal, tasks[0].id)


async def test_many_and_large_ones(bench: Bench) -> None:
    session = replace(new(bench), turns=30)
    turns = [ended(session, number + 1) for number in range(30)]
    turns = [replace(turn, task=replace(turn.task, input=said("å" * 80_000))) for turn in turns]
    await bench.store.stage_turns(session, turns)
    await bench.store.create_session(session)
    assert await bench.store.read_history(bench.principal, session.id, limit=30) == [turn.task for turn in turns]
