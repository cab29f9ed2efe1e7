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
    Summary,
    Task,
    TaskError,
    TaskState,
    Usage,
    new_session_id,
    new_task_id,
)
from hector.stores.base import Idempotency, StagedTurn
from hector.testing.bench import LEASE, MAX_AGE, TTL, Bench, done, nonce, pieces, said
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
    turns = [turn._replace(task=replace(turn.task, input=said("å" * 80_000))) for turn in turns]
    await bench.store.stage_turns(session, turns)
    await bench.store.create_session(session)
    assert await bench.store.read_history(bench.principal, session.id, limit=30) == [turn.task for turn in turns]


async def test_turns_may_have_run_in_another_order_than_that_of_their_ids(bench: Bench) -> None:
    """As where a task lined up behind one that was submitted after it."""
    session = replace(new(bench), turns=4)
    turns = [ended(session, number) for number in (1, 3, 2, 4)]
    turns = [turn._replace(task=replace(turn.task, turn=index + 1)) for index, turn in enumerate(turns)]
    await bench.store.stage_turns(session, turns)
    await bench.store.create_session(session)
    assert await bench.store.read_history(bench.principal, session.id, limit=2) == [turn.task for turn in turns[2:]]
    assert await bench.store.read_history(bench.principal, session.id, limit=9) == [turn.task for turn in turns]
    assert (await bench.turn(session)).turn == 5


async def test_a_task_that_ended_before_its_turn_came_is_listed_but_no_history(bench: Bench) -> None:
    session = replace(new(bench), turns=2)
    first, left, last = [ended(session, number) for number in (1, 2, 3)]
    never = replace(left.task, state=TaskState.CANCELED, output=None, usage=None, error=None, turn=0, last_event=0)
    last = last._replace(task=replace(last.task, turn=2))
    await bench.store.stage_turns(session, [first, StagedTurn(never, []), last])
    await bench.store.create_session(session)
    assert await bench.store.read_task(bench.principal, never.id) == never
    assert (await bench.store.list_tasks(bench.principal, session.id)).items == [last.task, never, first.task]
    assert await bench.store.read_history(bench.principal, session.id, limit=9) == [first.task, last.task]
    assert (await bench.turn(session)).turn == 3


async def test_a_summary_is_staged_with_them(bench: Bench) -> None:
    session = replace(new(bench), turns=3)
    summary = Summary("They talked about Alice.", 2)
    turns = [ended(session, number + 1) for number in range(3)]
    await bench.store.stage_turns(session, turns[:1])
    await bench.store.stage_turns(session, turns[1:], summary=summary)
    await bench.store.create_session(session)
    assert await bench.store.read_summary(bench.principal, session.id) == summary
    lease = await bench.claimed(session)
    await bench.store.save_summary(lease, Summary("Less.", 1))
    assert await bench.store.read_summary(bench.principal, session.id) == summary
    newer = Summary("More.", 3)
    await bench.store.save_summary(lease, newer)
    assert await bench.store.read_summary(bench.principal, session.id) == newer


async def test_a_session_that_was_erased_can_be_staged_again(bench: Bench) -> None:
    """As when an older copy is brought up to date."""
    session, _ = await staged(bench, 2)
    await bench.store.create_session(session)
    await bench.store.submit(bench.task(session), nonce=nonce())
    await bench.store.delete_session(bench.principal, session.id)
    await bench.store.unstage(session)
    again = replace(session, turns=3)
    turns = [ended(session, number + 1) for number in range(3)]
    await bench.store.stage_turns(again, turns)
    assert await bench.store.create_session(again) == again
    tasks = [turn.task for turn in turns]
    assert await bench.store.read_history(bench.principal, session.id, limit=9) == tasks
    assert (await bench.store.list_tasks(bench.principal, session.id, oldest_first=True)).items == tasks
    assert (await bench.turn(session)).turn == 4


async def test_a_session_that_has_expired_can_be_staged_again_while_its_rest_is_cleaned_up(bench: Bench) -> None:
    """As when it lives on where it is copied from. What cleans up knows of the former life only."""
    session, _ = await staged(bench, 2)
    await bench.store.create_session(session)
    await bench.turn(session)
    bench.clock.advance(seconds=(session.last_expiry - session.created_at) / 1000)
    await bench.store.unstage(session)
    now = bench.clock.now
    again = replace(new(bench), id=session.id, turns=4, expires_at=now + TTL, last_expiry=now + MAX_AGE)
    turns = [ended(again, number + 1) for number in range(4)]
    other = bench.another()
    for start in range(4):
        await bench.store.stage_turns(again, turns[start : start + 1])
        await other.clean_up()
        bench.clock.advance(seconds=1)
    assert await bench.store.create_session(again) == again
    await other.clean_up()
    assert await other.read_history(bench.principal, session.id, limit=9) == [turn.task for turn in turns]
    for turn in turns:
        page = await other.read_events(bench.principal, turn.task.id, after=0)
        assert (page.events, page.open) == (pieces(1, 1), False)


async def test_a_turn_that_was_handed_over_is_handed_over_again(bench: Bench) -> None:
    """As a copy does it: what waits, and has begun, is begun in the copy and given back, before others line up."""
    session, _ = await staged(bench, 2)
    await bench.store.create_session(session)
    begun, behind = [await bench.submitted(session) for _ in range(2)]
    for _ in range(2):  # the second time as whoever was interrupted in it
        lease = await bench.claim(begun, by="copy")
        lease = await bench.store.append_events(lease, pieces(1, 2), extend=LEASE)
    await bench.store.release(lease, next_in_line=True)
    await bench.store.line_up(bench.principal, behind.id, most=2)
    other = bench.another()
    page = await other.read_events(bench.principal, begun.id, after=0)
    assert (page.events, page.open, page.waiting) == (pieces(1, 2), False, True)
    assert (await other.read_session(bench.principal, session.id)).waiting == (begun.id, behind.id)
    assert (await other.read_task(bench.principal, begun.id)).state is TaskState.SUBMITTED
    lease = await bench.claim(begun)
    await bench.store.append_events(lease, pieces(3, 3), extend=LEASE)
    assert (await bench.ended(lease, done(3))).turn == 3
