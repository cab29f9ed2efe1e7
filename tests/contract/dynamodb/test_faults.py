"""An answer that is lost after its write took effect: whoever sends it again recognises it as their own.

Once as botocore does by itself, within a call; and once as a caller does, after a call that failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from hector.errors import (
    HectorError,
    IdempotencyKeyReused,
    LeaseLost,
    NotFound,
    SessionBusy,
    StoreUnavailable,
)
from hector.model import Summary, Task, TaskError, TaskState
from hector.stores.base import Idempotency, Lease, Outcome, Store
from hector.stores.dynamodb import connection
from hector.testing.bench import DONE, LEASE, Bench, nonce, pieces
from hector.testing.contract.session_keys import new
from tests.contract.dynamodb.wire import Send, client_of, losing_answers, sending

FAILED = Outcome(TaskState.FAILED, 0, error=TaskError("wait_timeout", "Its turn did not come."))
Verb = Callable[[], Awaitable[object]]


@pytest.fixture
def one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ATTEMPTS", 1)


@pytest.fixture(params=["the client's retry", "the caller's retry"])
def again(request: pytest.FixtureRequest) -> Callable[[Verb], Awaitable[None]]:
    """Calls a verb whose answer gets lost, until it has its answer."""

    async def retried_by_client(verb: Verb) -> None:
        await verb()

    async def retried_by_caller(verb: Verb) -> None:
        with pytest.raises(StoreUnavailable):
            await verb()
        await verb()

    if request.param == "the client's retry":
        return retried_by_client
    request.getfixturevalue("one_attempt")
    return retried_by_caller


Again = Callable[[Verb], Awaitable[None]]


async def test_submit(again: Again, dynamodb: Bench) -> None:
    session = await dynamodb.session()
    task, mine, results = dynamodb.task(session), nonce(), []

    async def submit() -> None:
        results.append(await dynamodb.store.submit(task, nonce=mine))

    with losing_answers(dynamodb.store, "PutItem") as sent:
        await again(submit)
    assert sent == ["PutItem!", "PutItem"]
    assert (results[0].task, results[0].created) == (task, True)


@pytest.mark.parametrize("lost", [0, 1], ids=["pointer", "task"])
async def test_submit_with_a_key(again: Again, dynamodb: Bench, lost: int) -> None:
    session = await dynamodb.session()
    task, mine, results = dynamodb.task(session), nonce(), []

    async def submit() -> None:
        key = Idempotency("key", "fingerprint")
        results.append(await dynamodb.store.submit(task, nonce=mine, idempotency=key))

    with losing_answers(dynamodb.store, "PutItem", skip=lost) as sent:
        await again(submit)
    assert sum(call.endswith("!") for call in sent) == 1
    assert (results[0].task, results[0].created) == (task, True)
    assert (await dynamodb.store.list_tasks(dynamodb.principal, session.id)).items == [task]


async def test_a_crash_between_the_key_and_its_task_is_completed(one_attempt: None, dynamodb: Bench) -> None:
    session, key = await dynamodb.session(), Idempotency("key", "fingerprint")
    first = dynamodb.task(session)
    with losing_answers(dynamodb.store, "PutItem"), pytest.raises(StoreUnavailable):
        await dynamodb.store.submit(first, nonce=nonce(), idempotency=key)
    assert (await dynamodb.store.list_tasks(dynamodb.principal, session.id)).items == []
    second = await dynamodb.store.submit(dynamodb.task(session), nonce=nonce(), idempotency=key)
    third = await dynamodb.store.submit(dynamodb.task(session), nonce=nonce(), idempotency=key)
    assert (second.created, third.created) == (True, False)
    assert second.task.id == third.task.id == first.id


async def test_claim(again: Again, dynamodb: Bench) -> None:
    task, mine, results = await dynamodb.submitted(await dynamodb.session()), nonce(), []

    async def claim() -> None:
        results.append(await dynamodb.claim(task, by=mine))

    with losing_answers(dynamodb.store, "UpdateItem") as sent:
        await again(claim)
    assert sent.count("UpdateItem!") == 1
    assert results[0].fence == 1
    assert (await dynamodb.ended(results[0])).turn == 1


async def test_taking_over(again: Again, dynamodb: Bench) -> None:
    task, mine, results = await dynamodb.submitted(await dynamodb.session()), nonce(), []
    old = await dynamodb.claim(task)
    dynamodb.clock.now = old.until

    async def claim() -> None:
        results.append(await dynamodb.claim(task, by=mine))

    # First it finds the turn open, then it takes it over.
    with losing_answers(dynamodb.store, "UpdateItem", skip=1) as sent:
        await again(claim)
    assert sent.count("UpdateItem!") == 1
    assert results[0].fence == old.fence + 1
    with pytest.raises(LeaseLost):
        await dynamodb.store.commit(old, DONE, nonce=nonce())


async def test_a_worker_that_renews_at_the_last_moment_is_not_taken_over(dynamodb: Bench) -> None:
    """Between the look that finds the turn lost, and the write that takes it over."""
    task = await dynamodb.submitted(await dynamodb.session())
    old = await dynamodb.claim(task)
    dynamodb.clock.now = old.until
    other, loop, updates = dynamodb.another(), asyncio.get_running_loop(), 0

    def renew_first(name: str, request: AWSPreparedRequest, send: Send) -> AWSResponse:
        nonlocal updates
        updates += name == "UpdateItem"
        if name == "UpdateItem" and updates == 2:
            asyncio.run_coroutine_threadsafe(other.append_events(old, [], extend=LEASE), loop).result()
        return send(request)

    with sending(dynamodb.store, renew_first), pytest.raises(SessionBusy):
        await dynamodb.claim(task)
    assert updates >= 2
    assert (await dynamodb.ended(await other.check_lease(old))).turn == 1


@pytest.mark.parametrize("lost", ["UpdateItem", "PutItem"], ids=["lease", "batch"])
async def test_append(again: Again, dynamodb: Bench, lost: str) -> None:
    lease = await dynamodb.claimed(await dynamodb.session())

    async def append() -> None:
        await dynamodb.store.append_events(lease, pieces(1, 3), extend=LEASE)

    with losing_answers(dynamodb.store, lost) as sent:
        await again(append)
    assert sent.count(f"{lost}!") == 1
    await dynamodb.store.append_events(lease, pieces(4, 4), extend=LEASE)
    assert await dynamodb.numbers(lease.task_id) == [1, 2, 3, 4]


async def test_commit(again: Again, dynamodb: Bench) -> None:
    lease, mine, results = await dynamodb.claimed(await dynamodb.session()), nonce(), []

    async def commit() -> None:
        results.append(await dynamodb.store.commit(lease, DONE, nonce=mine))

    with losing_answers(dynamodb.store, "UpdateItem") as sent:
        await again(commit)
    assert sent == ["UpdateItem!", "UpdateItem"]
    assert (results[0].state, results[0].turn) == (DONE.state, 1)
    await dynamodb.store.release(lease)
    assert (await dynamodb.store.read_session(dynamodb.principal, lease.session.id)).turns == 1


async def test_release(again: Again, dynamodb: Bench) -> None:
    lease = await dynamodb.claimed(await dynamodb.session())
    await dynamodb.store.commit(lease, DONE, nonce=nonce())
    with losing_answers(dynamodb.store, "UpdateItem") as sent:
        await again(lambda: dynamodb.store.release(lease))
    assert sent.count("UpdateItem!") == 1
    shown = await dynamodb.store.read_session(dynamodb.principal, lease.session.id)
    assert (shown.turns, shown.open_task_id) == (1, None)


async def test_release_to_somebody_else(again: Again, dynamodb: Bench) -> None:
    lease = await dynamodb.claimed(await dynamodb.session())
    with losing_answers(dynamodb.store, "UpdateItem") as sent:
        await again(lambda: dynamodb.store.release(lease, next_in_line=True))
    assert sent.count("UpdateItem!") == 1
    shown = await dynamodb.store.read_session(dynamodb.principal, lease.session.id)
    assert (shown.waiting, shown.open_task_id) == ((lease.task_id,), None)


@pytest.mark.parametrize("interrupt", [False, True])
async def test_line_up(again: Again, dynamodb: Bench, interrupt: bool) -> None:
    session = await dynamodb.session()
    task, results = await dynamodb.submitted(session), []

    async def line_up() -> None:
        results.append(await dynamodb.store.line_up(dynamodb.principal, task.id, most=1, interrupt=interrupt))

    with losing_answers(dynamodb.store, "UpdateItem") as sent:
        await again(line_up)
    assert sent.count("UpdateItem!") == 1
    assert results[0].waiting == (task.id,)


async def test_lining_up_in_a_free_session(again: Again, dynamodb: Bench) -> None:
    task, results = await dynamodb.submitted(await dynamodb.session()), []

    async def line_up() -> None:
        results.append(await dynamodb.store.line_up(dynamodb.principal, task.id, most=0))

    with losing_answers(dynamodb.store, "UpdateItem"):
        await again(line_up)
    assert results[0].waiting == (task.id,)


async def test_claiming_the_next_in_line(again: Again, dynamodb: Bench) -> None:
    session = await dynamodb.session()
    first, second = await dynamodb.submitted(session), await dynamodb.submitted(session)
    for task in (first, second):
        await dynamodb.store.line_up(dynamodb.principal, task.id, most=2)
    mine, results = nonce(), []

    async def claim() -> None:
        results.append(await dynamodb.claim(first, by=mine))

    with losing_answers(dynamodb.store, "UpdateItem") as sent:
        await again(claim)
    assert sent.count("UpdateItem!") == 1
    assert (results[0].fence, results[0].session.waiting) == (1, (second.id,))


async def test_a_line_that_is_not_as_it_was_last_seen(dynamodb: Bench) -> None:
    """Each store guesses whether tasks wait, and is told."""
    session = await dynamodb.session()
    task, newcomer = await dynamodb.submitted(session), await dynamodb.submitted(session)
    one, other = dynamodb.store, dynamodb.another()
    who = dynamodb.principal
    await other.read_session(who, session.id)
    await one.line_up(who, task.id, most=1)
    lease = await other.claim(who, session.id, task.id, lease=LEASE, nonce=nonce())
    await other.commit(lease, DONE, nonce=nonce())
    await other.release(lease)
    with losing_answers(one, "UpdateItem", times=0) as sent:
        assert (await dynamodb.ended(await dynamodb.claim(newcomer))).turn == 2
    assert sent[:2] == ["UpdateItem", "UpdateItem"]


@pytest.mark.parametrize("lost", ["TransactWriteItems", "UpdateItem"], ids=["task", "line"])
async def test_leave_line(again: Again, dynamodb: Bench, lost: str) -> None:
    session = await dynamodb.session()
    tasks = [await dynamodb.submitted(session) for _ in range(3)]
    for task in tasks:
        await dynamodb.store.line_up(dynamodb.principal, task.id, most=3, interrupt=True)
    lease = await dynamodb.claim(tasks[0])
    mine, results = nonce(), []

    async def leave() -> None:
        results.append(await dynamodb.store.leave_line(dynamodb.principal, tasks[1].id, FAILED, nonce=mine))

    with losing_answers(dynamodb.store, lost) as sent:
        await again(leave)
    assert sum(call.endswith("!") for call in sent) == 1
    assert (results[0].state, results[0].error) == (FAILED.state, FAILED.error)
    assert await dynamodb.store.read_task(dynamodb.principal, tasks[1].id) == results[0]
    shown = await dynamodb.store.read_session(dynamodb.principal, session.id)
    assert (shown.waiting, shown.open_task_id) == ((tasks[2].id,), lease.task_id)


async def test_an_ended_task_that_a_crash_left_in_the_line_leaves_it(one_attempt: None, dynamodb: Bench) -> None:
    """The next one sees that it is not first, and that the first has ended."""
    session = await dynamodb.session()
    tasks = [await dynamodb.submitted(session) for _ in range(2)]
    for task in tasks:
        await dynamodb.store.line_up(dynamodb.principal, task.id, most=2)
    # The task is ended; the worker dies before it takes the task out of the line.
    with losing_answers(dynamodb.store, "TransactWriteItems"), pytest.raises(StoreUnavailable):
        await dynamodb.store.leave_line(dynamodb.principal, tasks[0].id, FAILED, nonce=nonce())
    with pytest.raises(SessionBusy) as busy:
        await dynamodb.claim(tasks[1])
    assert busy.value.task_id == tasks[0].id
    ended = await dynamodb.another().leave_line(dynamodb.principal, tasks[0].id, DONE, nonce=nonce())
    assert (ended.state, ended.error) == (FAILED.state, FAILED.error)
    assert (await dynamodb.ended(await dynamodb.claim(tasks[1]))).turn == 1


@contextmanager
def claimed_before_it_is_ended(bench: Bench, task: Task, other: Store) -> Iterator[list[Lease]]:
    """Another store claims the task, once it has been looked at, and before the transaction that ends it."""
    loop = asyncio.get_running_loop()
    leases: list[Lease] = []

    def claim_first(name: str, request: AWSPreparedRequest, send: Send) -> AWSResponse:
        if name == "TransactWriteItems" and not leases:
            claiming = other.claim(bench.principal, task.session_id, task.id, lease=LEASE, nonce=nonce())
            leases.append(asyncio.run_coroutine_threadsafe(claiming, loop).result())
        return send(request)

    with sending(bench.store, claim_first):
        yield leases


async def test_a_worker_that_claims_what_gives_up_goes_on(dynamodb: Bench) -> None:
    """Between the look that finds the task waiting, and the write that ends it."""
    task = await dynamodb.submitted(await dynamodb.session())
    await dynamodb.store.line_up(dynamodb.principal, task.id, most=1)
    other = dynamodb.another()
    with claimed_before_it_is_ended(dynamodb, task, other) as leases:
        asked = await dynamodb.store.leave_line(dynamodb.principal, task.id, FAILED, nonce=nonce())
    assert asked.state is TaskState.WORKING
    assert not (await other.check_lease(leases[0])).cancel_requested
    assert (await dynamodb.ended(leases[0])).turn == 1


async def test_a_place_in_the_line_that_moves_while_one_leaves_it(dynamodb: Bench) -> None:
    session = await dynamodb.session()
    tasks = [await dynamodb.submitted(session) for _ in range(3)]
    for task in tasks:
        await dynamodb.store.line_up(dynamodb.principal, task.id, most=3)
    other, loop, updates = dynamodb.another(), asyncio.get_running_loop(), 0

    def claim_first(name: str, request: AWSPreparedRequest, send: Send) -> AWSResponse:
        nonlocal updates
        updates += name == "UpdateItem"
        if name == "UpdateItem" and updates == 1:
            claiming = other.claim(dynamodb.principal, session.id, tasks[0].id, lease=LEASE, nonce=nonce())
            asyncio.run_coroutine_threadsafe(claiming, loop).result()
        return send(request)

    with sending(dynamodb.store, claim_first):
        await dynamodb.store.request_cancel(dynamodb.principal, tasks[1].id)
    assert updates == 2, "its place was another when it came to leave it"
    shown = await dynamodb.store.read_session(dynamodb.principal, session.id)
    assert (shown.waiting, shown.open_task_id) == ((tasks[2].id,), tasks[0].id)


async def test_save_summary(again: Again, dynamodb: Bench) -> None:
    lease = await dynamodb.claimed(await dynamodb.session())
    with losing_answers(dynamodb.store, "PutItem") as sent:
        await again(lambda: dynamodb.store.save_summary(lease, Summary("text", 3)))
    assert sent.count("PutItem!") == 1
    assert await dynamodb.store.read_summary(dynamodb.principal, lease.session.id) == Summary("text", 3)


async def test_a_worker_that_loses_its_lease_while_it_saves_a_summary_says_nothing(dynamodb: Bench) -> None:
    """Between the look at the lease, and the write: whoever has taken over has saved one."""
    task = await dynamodb.submitted(await dynamodb.session())
    old = await dynamodb.claim(task)
    other, loop = dynamodb.another(), asyncio.get_running_loop()

    async def take_over() -> None:
        dynamodb.clock.now = old.until
        new = await other.claim(dynamodb.principal, task.session_id, task.id, lease=LEASE, nonce=nonce())
        await other.save_summary(new, Summary("new", 1))

    def taken_over_first(name: str, request: AWSPreparedRequest, send: Send) -> AWSResponse:
        if name == "PutItem":
            asyncio.run_coroutine_threadsafe(take_over(), loop).result()
        return send(request)

    with sending(dynamodb.store, taken_over_first), pytest.raises(LeaseLost):
        await dynamodb.store.save_summary(old, Summary("old", 2))
    assert await other.read_summary(dynamodb.principal, task.session_id) == Summary("new", 1)


async def test_cancel(dynamodb: Bench) -> None:
    task = await dynamodb.submitted(await dynamodb.session())
    with losing_answers(dynamodb.store, "TransactWriteItems") as sent:
        canceled = await dynamodb.store.request_cancel(dynamodb.principal, task.id)
    assert sent.count("TransactWriteItems!") == 1
    assert canceled.state is TaskState.CANCELED


async def test_a_worker_that_claims_what_is_being_canceled_hears_of_it(dynamodb: Bench) -> None:
    """Between the look that finds the task waiting, and the write that cancels it: what it says is not taken back."""
    task = await dynamodb.submitted(await dynamodb.session())
    other = dynamodb.another()
    with claimed_before_it_is_ended(dynamodb, task, other) as leases:
        asked = await dynamodb.store.request_cancel(dynamodb.principal, task.id)
    assert asked.state is TaskState.WORKING
    assert (await other.check_lease(leases[0])).cancel_requested
    assert (await dynamodb.ended(leases[0], Outcome(TaskState.CANCELED, 0))).turn == 1


async def test_delete(dynamodb: Bench) -> None:
    session = await dynamodb.session(metadata={"a": 1})
    task = await dynamodb.turn(session)
    with losing_answers(dynamodb.store, "DeleteItem") as sent:
        await dynamodb.store.delete_session(dynamodb.principal, session.id)
    assert sent.count("DeleteItem!") == 1
    assert await dynamodb.store._table.get((task.session_id, f"task#{task.id[-19:]}")) is None  # type: ignore[attr-defined]


async def test_what_a_lost_worker_had_on_its_way_nobody_is_shown(dynamodb: Bench) -> None:
    """Its lease was good when it renewed it, and its batch arrives after the turn has been closed by another."""
    task = await dynamodb.submitted(await dynamodb.session())
    old = await dynamodb.claim(task)
    await dynamodb.store.append_events(old, pieces(1, 2), extend=LEASE)
    row = await dynamodb.store._table.get((task.session_id, f"log#{task.id[-19:]}#0000001"))  # type: ignore[attr-defined]
    dynamodb.clock.now += LEASE
    await dynamodb.ended(await dynamodb.claim(task), Outcome(TaskState.FAILED, 2))
    late = row | {"sk": row["sk"][:-1] + "3", "fence": old.fence}
    await dynamodb.store._table.put(late, condition="attribute_not_exists(pk)")  # type: ignore[attr-defined]
    assert await dynamodb.numbers(task.id) == [1, 2]


async def test_nothing_is_half_there_when_a_session_is_created(one_attempt: None, dynamodb: Bench) -> None:
    with losing_answers(dynamodb.store, "PutItem"), pytest.raises(HectorError):
        await dynamodb.session(metadata={"a": 1})
    assert (await dynamodb.store.list_sessions(dynamodb.principal)).items == []


async def test_a_key_hands_over_no_task_that_was_discarded(dynamodb: Bench) -> None:
    session, key, mine = await dynamodb.session(), Idempotency("key", "fingerprint"), nonce()
    task = dynamodb.task(session)
    await dynamodb.store.submit(task, nonce=mine, idempotency=key)
    with losing_answers(dynamodb.store, "DeleteItem", times=2):
        await dynamodb.store.discard(task, nonce=mine)
    with pytest.raises(NotFound):
        await dynamodb.store.read_task(dynamodb.principal, task.id)
    assert (await dynamodb.store.submit(dynamodb.task(session), nonce=nonce(), idempotency=key)).created


@pytest.mark.parametrize("lost", [0, 1], ids=["pointer", "session"])
async def test_create_session_with_a_key(again: Again, dynamodb: Bench, lost: int) -> None:
    session, results = replace(new(dynamodb), metadata={}), []

    async def create() -> None:
        results.append(await dynamodb.store.create_session(session, idempotency=Idempotency("key", "fingerprint")))

    with losing_answers(dynamodb.store, "PutItem", skip=lost) as sent:
        await again(create)
    assert sum(call.endswith("!") for call in sent) == 1
    assert results == [session]
    assert (await dynamodb.store.list_sessions(dynamodb.principal)).items == [session]


async def test_a_crash_between_a_key_and_its_session_is_completed(one_attempt: None, dynamodb: Bench) -> None:
    first, key = new(dynamodb), Idempotency("key", "fingerprint")
    with losing_answers(dynamodb.store, "PutItem"), pytest.raises(StoreUnavailable):
        await dynamodb.store.create_session(first, idempotency=key)
    assert (await dynamodb.store.list_sessions(dynamodb.principal)).items == []
    with pytest.raises(IdempotencyKeyReused):
        await dynamodb.store.create_session(new(dynamodb), idempotency=Idempotency("key", "other"))
    dynamodb.clock.advance(seconds=1)
    for _ in range(2):
        assert await dynamodb.store.create_session(new(dynamodb), idempotency=key) == first


async def test_a_swept_session_is_not_created_again_by_its_key(dynamodb: Bench) -> None:
    key = Idempotency("key", "fingerprint")
    first = await dynamodb.store.create_session(new(dynamodb), idempotency=key)
    client_of(dynamodb.store).delete_item(TableName="contract", Key={"pk": {"S": first.id}, "sk": {"S": "hot"}})
    dynamodb.clock.now = first.expires_at
    second = await dynamodb.store.create_session(new(dynamodb), idempotency=key)
    assert second.id != first.id


async def test_update_session(again: Again, dynamodb: Bench) -> None:
    session, results = await dynamodb.session(), []

    async def update() -> None:
        results.append(
            await dynamodb.store.update_session(dynamodb.principal, session.id, ttl=1_000, metadata={"a": 1})
        )

    with losing_answers(dynamodb.store, "UpdateItem") as sent:
        await again(update)
    assert sent.count("UpdateItem!") == 1
    assert results == [replace(session, ttl=1_000, expires_at=dynamodb.clock.now + 1_000, metadata={"a": 1})]
