"""commit: answer and final status, once."""

from __future__ import annotations

import pytest

from hector.errors import LeaseLost, TaskClosed
from hector.model import EventKind, Message, Part, Role, StopReason, TaskError, TaskState, Usage, terminal_event
from hector.stores.base import Outcome
from hector.testing.bench import DONE, LEASE, Bench, done, nonce, pieces

OUTCOMES = [
    Outcome(TaskState.COMPLETED, 7, Message.of(Role.AGENT, "zwölf 🥊\n"), Usage(12, 34)),
    Outcome(TaskState.FAILED, 0, error=TaskError("agent_error", "It »failed«.")),
    Outcome(TaskState.FAILED, 0, Message.of(Role.AGENT, "\0 \u2028"), error=TaskError("a\0", "\0")),
    Outcome(TaskState.CANCELED, 3, Message(Role.AGENT, (Part("half"), Part("{}", "application/json")))),
    Outcome(TaskState.COMPLETED, 1, Message.of(Role.AGENT, ""), Usage(0, 0)),
    Outcome(TaskState.COMPLETED, 1, Message.of(Role.AGENT, "long " * 20_000)),
    Outcome(TaskState.COMPLETED, 2, Message.of(Role.AGENT, "cut"), stop_reason=StopReason.MAX_TOKENS),
]


@pytest.mark.parametrize("outcome", OUTCOMES)
async def test_reads_back_every_field(bench: Bench, outcome: Outcome) -> None:
    lease = await bench.claimed(await bench.session())
    bench.clock.advance(seconds=1)
    task = await bench.store.commit(lease, outcome, nonce=nonce())
    assert Outcome(task.state, task.last_event, task.output, task.usage, task.error, task.stop_reason) == outcome
    assert (task.turn, task.updated_at) == (1, bench.clock.now)
    assert await bench.store.read_task(bench.principal, task.id) == task
    assert await bench.another().read_task(bench.principal, task.id) == task


async def test_the_terminal_event_has_the_number_after_the_last(bench: Bench) -> None:
    lease = await bench.claimed(await bench.session())
    await bench.store.append_events(lease, pieces(1, 3), extend=LEASE)
    event = terminal_event(await bench.ended(lease, done(3)))
    assert (event.number, event.kind, event.state) == (4, EventKind.STATUS, TaskState.COMPLETED)


async def test_ones_own_retry_is_recognised(bench: Bench) -> None:
    lease, mine = await bench.claimed(await bench.session()), nonce()
    first = await bench.store.commit(lease, DONE, nonce=mine)
    assert await bench.store.commit(lease, DONE, nonce=mine) == first


async def test_a_second_commit_is_refused(bench: Bench) -> None:
    lease = await bench.claimed(await bench.session())
    task = await bench.store.commit(lease, DONE, nonce=nonce())
    with pytest.raises(TaskClosed):
        await bench.store.commit(lease, Outcome(TaskState.FAILED, 0), nonce=nonce())
    assert await bench.store.read_task(bench.principal, task.id) == task


async def test_a_commit_after_the_turn_is_over_is_refused(bench: Bench) -> None:
    lease = await bench.claimed(await bench.session())
    task = await bench.ended(lease)
    with pytest.raises((LeaseLost, TaskClosed)):
        await bench.store.commit(lease, Outcome(TaskState.FAILED, 0), nonce=nonce())
    assert await bench.store.read_task(bench.principal, task.id) == task


async def test_a_commit_that_comes_after_a_takeover_has_ended_is_refused(bench: Bench) -> None:
    task = await bench.submitted(await bench.session())
    old = await bench.claim(task)
    bench.clock.now = old.until
    ended = await bench.ended(await bench.claim(task), Outcome(TaskState.FAILED, 0))
    with pytest.raises((LeaseLost, TaskClosed)):
        await bench.store.commit(old, DONE, nonce=nonce())
    assert await bench.store.read_task(bench.principal, task.id) == ended


async def test_who_takes_over_a_committed_turn_cannot_commit_it_again(bench: Bench) -> None:
    lease = await bench.claimed(await bench.session())
    task = await bench.store.commit(lease, DONE, nonce=nonce())
    bench.clock.now = lease.until
    with pytest.raises(TaskClosed):
        await bench.store.commit(await bench.claim(task), Outcome(TaskState.FAILED, 0), nonce=nonce())
    assert await bench.store.read_task(bench.principal, task.id) == task


async def test_a_task_canceled_before_its_worker_commits_stays_canceled(bench: Bench) -> None:
    task = await bench.submitted(await bench.session())
    canceled = await bench.store.request_cancel(bench.principal, task.id)
    lease = await bench.claim(task)
    with pytest.raises(TaskClosed):
        await bench.store.commit(lease, DONE, nonce=nonce())
    await bench.store.release(lease)
    assert await bench.store.read_task(bench.principal, task.id) == canceled
    assert (await bench.store.read_session(bench.principal, task.session_id)).turns == 0
