"""Tasks that wait for their turn: in order, bounded, canceled and interrupted; and what claims make of them."""

from __future__ import annotations

import asyncio

import pytest

from hector.errors import LineFull, LostTurn, NotFound, SessionBusy, TaskNotCancelable
from hector.model import Message, Principal, Role, Session, Task, TaskError, TaskState
from hector.stores.base import Idempotency, Lease, Outcome
from hector.testing.bench import DONE, LEASE, TTL, Bench, nonce, pieces

MOST = 5
GAVE_UP = Outcome(TaskState.FAILED, 0, error=TaskError("wait_timeout", "Its turn did not come."))


async def lined_up(bench: Bench, session: Session, text: str = "question", *, interrupt: bool = False) -> Task:
    task = await bench.submitted(session, text)
    await bench.store.line_up(bench.principal, task.id, most=MOST, interrupt=interrupt)
    return task


async def waiting(bench: Bench, session: Session) -> tuple[str, ...]:
    return (await bench.store.read_session(bench.principal, session.id)).waiting


async def left(bench: Bench, task: Task, outcome: Outcome = GAVE_UP) -> Task:
    return await bench.store.leave_line(bench.principal, task.id, outcome, nonce=nonce())


async def test_tasks_wait_in_the_order_in_which_they_lined_up(bench: Bench) -> None:
    session = await bench.session()
    assert await waiting(bench, session) == ()
    late = await bench.submitted(session, "submitted first, lined up last")
    tasks = [await lined_up(bench, session, f"message {number}") for number in range(3)]
    seen = await bench.store.line_up(bench.principal, late.id, most=MOST)
    expected = (*(task.id for task in tasks), late.id)
    assert seen.waiting == expected
    assert await waiting(bench, session) == expected
    listed = (await bench.store.list_sessions(bench.principal)).items
    assert [found.waiting for found in listed] == [expected]


async def test_only_the_first_in_line_can_be_claimed_and_leaves_the_line_by_that(bench: Bench) -> None:
    session = await bench.session()
    first, second = await lined_up(bench, session), await lined_up(bench, session)
    newcomer = await bench.submitted(session)
    for task in (second, newcomer):
        with pytest.raises(SessionBusy) as busy:
            await bench.claim(task)
        assert busy.value.task_id == first.id
    lease = await bench.claim(first)
    assert lease.session.waiting == (second.id,)
    with pytest.raises(SessionBusy) as busy:
        await bench.claim(second)
    assert busy.value.task_id == first.id, "it is running now"
    assert await waiting(bench, session) == (second.id,)
    await bench.ended(lease)
    await bench.ended(await bench.claim(second))
    assert await waiting(bench, session) == ()
    await bench.ended(await bench.claim(newcomer))


async def test_a_claim_whose_answer_was_lost_is_recognised_in_a_line_too(bench: Bench) -> None:
    session = await bench.session()
    first, second = await lined_up(bench, session), await lined_up(bench, session)
    by = nonce()
    lease = await bench.claim(first, by=by)
    again = await bench.claim(first, by=by)
    assert (again.fence, again.task_id) == (lease.fence, first.id)
    assert await waiting(bench, session) == (second.id,)


async def test_tasks_line_up_behind_a_running_turn(bench: Bench) -> None:
    session = await bench.session()
    lease = await bench.claimed(session)
    task = await lined_up(bench, session)
    with pytest.raises(SessionBusy) as busy:
        await bench.claim(task)
    assert busy.value.task_id == lease.task_id
    assert not (await bench.store.check_lease(lease)).cancel_requested
    await bench.ended(lease)
    turn = await bench.ended(await bench.claim(task))
    assert turn.turn == 2


async def test_lining_up_again_changes_nothing(bench: Bench) -> None:
    session = await bench.session()
    tasks = [await lined_up(bench, session) for _ in range(MOST)]
    for task in tasks:
        again = await bench.store.line_up(bench.principal, task.id, most=MOST)
        assert again.waiting == tuple(task.id for task in tasks)
    lease = await bench.claim(tasks[0])
    again = await bench.store.line_up(bench.principal, tasks[0].id, most=MOST)
    assert again.waiting == tuple(task.id for task in tasks[1:]), "its turn is open"
    await bench.ended(lease)


async def test_a_line_is_bounded(bench: Bench) -> None:
    session = await bench.session()
    tasks = [await lined_up(bench, session) for _ in range(MOST)]
    one_too_many = await bench.submitted(session)
    with pytest.raises(LineFull) as full:
        await bench.store.line_up(bench.principal, one_too_many.id, most=MOST)
    assert full.value.task_id == tasks[0].id
    await bench.ended(await bench.claim(tasks[0]))
    await bench.store.line_up(bench.principal, one_too_many.id, most=MOST)


async def test_many_that_line_up_at_once_all_get_a_place_and_no_more_than_there_are(bench: Bench) -> None:
    session = await bench.session()
    tasks = [await bench.submitted(session) for _ in range(12)]
    stores = [bench.store, bench.another()]
    results = await asyncio.gather(
        *(
            stores[index % 2].line_up(bench.principal, task.id, most=8, interrupt=index % 3 == 0)
            for index, task in enumerate(tasks)
        ),
        return_exceptions=True,
    )
    assert [type(result) for result in results].count(LineFull) == 4
    accepted = {task.id for task, result in zip(tasks, results, strict=True) if isinstance(result, Session)}
    order = await waiting(bench, session)
    assert set(order) == accepted
    assert len(order) == 8


async def test_with_0_the_session_has_to_be_free(bench: Bench) -> None:
    session = await bench.session()
    task = await bench.submitted(session)
    lease = await bench.claimed(session)
    with pytest.raises(SessionBusy) as busy:
        await bench.store.line_up(bench.principal, task.id, most=0)
    assert busy.value.task_id == lease.task_id
    await bench.ended(lease)
    assert (await bench.store.line_up(bench.principal, task.id, most=0)).waiting == (task.id,)
    other = await bench.submitted(session)
    with pytest.raises(SessionBusy) as busy:
        await bench.store.line_up(bench.principal, other.id, most=0)
    assert busy.value.task_id == task.id


async def test_with_0_a_lost_turn_has_to_be_closed_first(bench: Bench) -> None:
    session = await bench.session()
    task = await bench.submitted(session)
    lease = await bench.claimed(session)
    bench.clock.advance(seconds=LEASE / 1000)
    with pytest.raises(LostTurn) as lost:
        await bench.store.line_up(bench.principal, task.id, most=0)
    assert lost.value.task_id == lease.task_id


async def test_a_lost_turn_is_closed_before_the_next_in_line_begins(bench: Bench) -> None:
    session = await bench.session()
    lease = await bench.claimed(session)
    task = await lined_up(bench, session)
    bench.clock.advance(seconds=LEASE / 1000)
    with pytest.raises(LostTurn) as lost:
        await bench.claim(task)
    assert lost.value.task_id == lease.task_id
    taken = await bench.store.claim(bench.principal, session.id, lease.task_id, lease=LEASE, nonce=nonce())
    assert taken.session.waiting == (task.id,), "taking over is not the line's business"
    await bench.ended(taken)
    await bench.claim(task)


async def test_an_interrupting_task_cancels_every_turn_before_it_and_none_behind(bench: Bench) -> None:
    session = await bench.session()
    running = await bench.claimed(session)
    polite = await lined_up(bench, session)
    rude = await lined_up(bench, session, interrupt=True)
    last = await lined_up(bench, session)
    assert (await bench.store.check_lease(running)).cancel_requested
    assert (await bench.store.append_events(running, pieces(1, 1), extend=LEASE)).cancel_requested
    await bench.ended(running, DONE._replace(last_event=1))
    lease = await bench.claim(polite)
    assert lease.cancel_requested, "what waits before it is canceled, too, as it begins"
    await bench.ended(lease)
    for task in (rude, last):
        lease = await bench.claim(task)
        assert not lease.cancel_requested
        assert not (await bench.store.check_lease(lease)).cancel_requested
        await bench.ended(lease)


async def test_a_task_that_waits_is_submitted_and_says_so(bench: Bench) -> None:
    session = await bench.session()
    task = await lined_up(bench, session)
    assert (await bench.store.read_task(bench.principal, task.id)).state is TaskState.SUBMITTED
    page = await bench.store.read_events(bench.principal, task.id, after=0)
    assert (page.events, page.open, page.lost, page.waiting) == ([], False, False, True)
    await bench.claim(task)
    assert not (await bench.store.read_events(bench.principal, task.id, after=0)).waiting


async def test_a_task_that_gives_up_is_ended_leaves_the_line_and_is_no_turn(bench: Bench) -> None:
    session = await bench.session()
    first, second, third = [await lined_up(bench, session) for _ in range(3)]
    ended = await left(bench, second)
    assert (ended.state, ended.turn, ended.error) == (TaskState.FAILED, 0, GAVE_UP.error)
    assert await bench.store.read_task(bench.principal, second.id) == ended
    assert await waiting(bench, session) == (first.id, third.id)
    assert await left(bench, second) == ended, "once more changes nothing"
    await bench.ended(await bench.claim(first))
    await bench.ended(await bench.claim(third))
    history = await bench.store.read_history(bench.principal, session.id, limit=10)
    assert [turn.id for turn in history] == [first.id, third.id]


async def test_a_task_whose_turn_has_begun_cannot_give_up(bench: Bench) -> None:
    session = await bench.session()
    task = await lined_up(bench, session)
    lease = await bench.claim(task)
    assert (await left(bench, task)).state is TaskState.WORKING
    ended = await bench.ended(lease)
    assert await left(bench, task) == ended


async def test_what_is_discarded_leaves_the_line(bench: Bench) -> None:
    session = await bench.session()
    by = nonce()
    task = (await bench.store.submit(bench.task(session), nonce=by)).task
    await bench.store.line_up(bench.principal, task.id, most=MOST)
    other = await lined_up(bench, session)
    await bench.store.discard(task, nonce=nonce())
    assert await waiting(bench, session) == (task.id, other.id), "somebody else's to discard"
    for _ in range(2):
        await bench.store.discard(task, nonce=by)
        assert await waiting(bench, session) == (other.id,)
    with pytest.raises(NotFound):
        await bench.store.read_task(bench.principal, task.id)


async def test_canceling_a_task_that_waits_takes_it_out_of_the_line(bench: Bench) -> None:
    session = await bench.session()
    first, second = await lined_up(bench, session), await lined_up(bench, session)
    canceled = await bench.store.request_cancel(bench.principal, first.id)
    assert canceled.state is TaskState.CANCELED
    assert await waiting(bench, session) == (second.id,)
    with pytest.raises(TaskNotCancelable):
        await bench.store.request_cancel(bench.principal, first.id)
    await bench.claim(second)


async def test_canceling_one_that_interrupts_interrupts_nothing_more(bench: Bench) -> None:
    session = await bench.session()
    running = await bench.claimed(session)
    task = await lined_up(bench, session, interrupt=True)
    await bench.store.request_cancel(bench.principal, task.id)
    assert not (await bench.store.check_lease(running)).cancel_requested


async def test_a_line_keeps_its_session_from_idling_away(bench: Bench) -> None:
    session = await bench.session()
    bench.clock.advance(seconds=TTL / 1000 - 1)
    await lined_up(bench, session)
    bench.clock.advance(seconds=2)
    assert len(await waiting(bench, session)) == 1
    bench.clock.advance(seconds=TTL / 1000)
    with pytest.raises(NotFound):
        await waiting(bench, session)


async def test_what_a_handed_over_task_has_said_is_kept_as_it_leaves(bench: Bench) -> None:
    session = await bench.session()
    lease = await bench.claimed(session)
    events = pieces(1, 2)
    await bench.store.append_events(lease, events, extend=LEASE)
    await bench.store.release(lease, next_in_line=True)
    said = Outcome(TaskState.CANCELED, 2, Message.of(Role.AGENT, "piece 1 piece 2 " * 50_000))
    await bench.store.leave_line(bench.principal, lease.task_id, said, nonce=nonce())
    task = await bench.another().read_task(bench.principal, lease.task_id)
    assert (task.state, task.last_event, task.output, task.turn) == (TaskState.CANCELED, 2, said.output, 0)
    assert (await bench.store.read_events(bench.principal, task.id, after=0)).events == events
    assert await waiting(bench, session) == ()


async def test_what_has_ended_lines_up_no_more(bench: Bench) -> None:
    session = await bench.session()
    task = await bench.turn(session)
    assert (await bench.store.line_up(bench.principal, task.id, most=MOST)).waiting == ()
    assert await waiting(bench, session) == ()


async def test_what_another_with_the_key_may_have_lined_up_is_not_discarded(bench: Bench) -> None:
    session = await bench.session()
    key, mine = Idempotency("key", "body"), nonce()
    task = (await bench.store.submit(bench.task(session), nonce=mine, idempotency=key)).task
    await bench.store.line_up(bench.principal, task.id, most=MOST)
    await bench.store.discard(task, nonce=mine)
    assert await waiting(bench, session) == (task.id,)
    again = await bench.store.submit(bench.task(session), nonce=nonce(), idempotency=key)
    assert (again.task.id, again.created) == (task.id, False)


async def test_a_task_that_nobody_submitted_has_no_line(bench: Bench) -> None:
    session = await bench.session()
    task = bench.task(session)
    with pytest.raises(NotFound):
        await bench.store.line_up(bench.principal, task.id, most=MOST)
    with pytest.raises(NotFound):
        await bench.store.leave_line(bench.principal, task.id, GAVE_UP, nonce=nonce())
    assert await waiting(bench, session) == ()


async def test_lines_are_their_owners(bench: Bench) -> None:
    session = await bench.session()
    task = await lined_up(bench, session)
    for stranger in (Principal("stranger", "tenant"), bench.principal._replace(tenant="elsewhere")):
        with pytest.raises(NotFound):
            await bench.store.line_up(stranger, task.id, most=MOST)
        with pytest.raises(NotFound):
            await bench.store.leave_line(stranger, task.id, GAVE_UP, nonce=nonce())
    assert await waiting(bench, session) == (task.id,)


async def test_an_expired_or_erased_session_has_no_line(bench: Bench) -> None:
    expired, erased = await bench.session(ttl=1000), await bench.session()
    one, other = await lined_up(bench, expired), await lined_up(bench, erased)
    bench.clock.advance(seconds=1)
    await bench.store.delete_session(bench.principal, erased.id)
    for task in (one, other):
        with pytest.raises(NotFound):
            await bench.store.line_up(bench.principal, task.id, most=MOST)
        with pytest.raises(NotFound):
            await bench.store.leave_line(bench.principal, task.id, GAVE_UP, nonce=nonce())
        with pytest.raises(NotFound):
            await bench.claim(task)


async def test_racing_claims_of_the_next_in_line_have_one_winner(bench: Bench) -> None:
    session = await bench.session()
    tasks = [await lined_up(bench, session) for _ in range(3)]
    stores = [bench.store, bench.another()]
    for task in tasks:
        results = await asyncio.gather(
            *(
                stores[index % 2].claim(bench.principal, session.id, tasks[index % 3].id, lease=LEASE, nonce=nonce())
                for index in range(6)
            ),
            return_exceptions=True,
        )
        [lease] = [result for result in results if isinstance(result, Lease)]
        assert lease.task_id == task.id
        assert all(isinstance(result, Lease | SessionBusy) for result in results)
        await bench.ended(lease)
