"""request_cancel: a mark for the worker of an open turn, the end for a task that waits."""

from __future__ import annotations

import pytest

from hector.errors import TaskClosed, TaskNotCancelable
from hector.model import TaskState
from hector.stores.base import Outcome
from hector.testing.bench import DONE, LEASE, Bench, nonce, pieces


async def test_a_waiting_task_is_canceled_at_once(bench: Bench) -> None:
    task = await bench.submitted(await bench.session())
    bench.clock.advance(seconds=1)
    canceled = await bench.store.request_cancel(bench.principal, task.id)
    assert (canceled.state, canceled.updated_at) == (TaskState.CANCELED, bench.clock.now)
    assert await bench.store.read_task(bench.principal, task.id) == canceled


async def test_a_claim_that_comes_after_the_cancel_finds_the_mark(bench: Bench) -> None:
    """A message is submitted and claimed side by side: a cancel may come in between."""
    session = await bench.session()
    await bench.turn(session)
    task = await bench.submitted(session)
    await bench.store.request_cancel(bench.principal, task.id)
    lease = await bench.claim(task)
    assert lease.cancel_requested
    with pytest.raises(TaskClosed):
        await bench.store.commit(lease, DONE, nonce=nonce())
    await bench.store.release(lease)
    assert not (await bench.claimed(session)).cancel_requested


async def test_what_has_ended_before_takes_no_mark_from_what_is_canceled_now(bench: Bench) -> None:
    session = await bench.session()
    first, second = await bench.submitted(session), await bench.submitted(session)
    await bench.store.leave_line(bench.principal, first.id, Outcome(TaskState.FAILED, 0), nonce=nonce())
    await bench.store.request_cancel(bench.principal, second.id)
    await bench.store.leave_line(bench.principal, first.id, Outcome(TaskState.FAILED, 0), nonce=nonce())
    assert (await bench.claim(second)).cancel_requested


async def test_canceling_what_waits_leaves_the_mark_of_the_open_turn(bench: Bench) -> None:
    session = await bench.session()
    lease = await bench.claimed(session)
    await bench.store.request_cancel(bench.principal, lease.task_id)
    for task in (await bench.submitted(session), await bench.submitted(session)):
        await bench.store.request_cancel(bench.principal, task.id)
    assert (await bench.store.check_lease(lease)).cancel_requested


async def test_an_open_task_is_marked_and_goes_on_working(bench: Bench) -> None:
    lease = await bench.claimed(await bench.session())
    for _ in range(2):
        assert (await bench.store.request_cancel(bench.principal, lease.task_id)).state is TaskState.WORKING
    assert (await bench.store.check_lease(lease)).cancel_requested
    assert (await bench.ended(lease)).state is TaskState.COMPLETED


async def test_an_ended_task_is_not_cancelable(bench: Bench) -> None:
    session = await bench.session()
    lease = await bench.claimed(session)
    await bench.store.commit(lease, DONE, nonce=nonce())
    for _ in range(2):
        with pytest.raises(TaskNotCancelable):
            await bench.store.request_cancel(bench.principal, lease.task_id)
        await bench.store.release(lease)


async def test_a_canceled_task_is_not_cancelable(bench: Bench) -> None:
    task = await bench.submitted(await bench.session())
    await bench.store.request_cancel(bench.principal, task.id)
    with pytest.raises(TaskNotCancelable):
        await bench.store.request_cancel(bench.principal, task.id)


async def test_the_mark_means_nothing_to_the_next_turn(bench: Bench) -> None:
    session = await bench.session()
    lease = await bench.claimed(session)
    await bench.store.request_cancel(bench.principal, lease.task_id)
    await bench.ended(lease)
    assert not (await bench.claimed(session)).cancel_requested


async def test_the_mark_outlives_its_worker(bench: Bench) -> None:
    task = await bench.submitted(await bench.session())
    lost = await bench.claim(task)
    await bench.store.request_cancel(bench.principal, task.id)
    bench.clock.now = lost.until
    assert (await bench.claim(task)).cancel_requested


async def test_a_lost_turn_can_be_marked(bench: Bench) -> None:
    lease = await bench.claimed(await bench.session())
    bench.clock.now = lease.until
    assert (await bench.store.request_cancel(bench.principal, lease.task_id)).state is TaskState.WORKING


async def test_cancelling_a_waiting_task_leaves_the_open_one_alone(bench: Bench) -> None:
    session = await bench.session()
    lease = await bench.claimed(session)
    waiting = await bench.submitted(session)
    await bench.store.request_cancel(bench.principal, lease.task_id)
    await bench.store.request_cancel(bench.principal, waiting.id)
    assert (await bench.store.append_events(lease, [], extend=LEASE)).cancel_requested
    assert (await bench.store.read_task(bench.principal, waiting.id)).state is TaskState.CANCELED


async def test_what_has_said_something_and_waits_again_stays(bench: Bench) -> None:
    """Its end is more than this call knows: `leave_line` brings it."""
    session = await bench.session()
    lease = await bench.claimed(session)
    await bench.store.append_events(lease, pieces(1, 2), extend=LEASE)
    await bench.store.release(lease, next_in_line=True)
    for _ in range(2):
        task = await bench.store.request_cancel(bench.principal, lease.task_id)
        assert task.state is TaskState.SUBMITTED
    assert (await bench.store.read_session(bench.principal, session.id)).waiting == (lease.task_id,)


async def test_what_has_said_nothing_and_waits_again_is_canceled_at_once(bench: Bench) -> None:
    session = await bench.session()
    lease = await bench.claimed(session)
    await bench.store.release(lease, next_in_line=True)
    assert (await bench.store.request_cancel(bench.principal, lease.task_id)).state is TaskState.CANCELED
    assert (await bench.store.read_session(bench.principal, session.id)).waiting == ()
