"""Real races on the real engine: whoever comes first wins, and exactly one does."""

from __future__ import annotations

import asyncio

from hector.errors import HectorError, LeaseLost, SessionBusy, TaskClosed
from hector.model import Session, Summary, Task, TaskState
from hector.stores.base import Idempotency, Lease, Outcome, Store, Submitted
from hector.testing.bench import DONE, LEASE, Bench, nonce, pieces

AT_ONCE = 12
ROUNDS = 5


async def test_one_of_many_claims_gets_the_lease(dynamodb: Bench) -> None:
    for _ in range(ROUNDS):
        session = await dynamodb.session()
        tasks = [await dynamodb.submitted(session) for _ in range(AT_ONCE)]
        results = await asyncio.gather(*(dynamodb.claim(task) for task in tasks), return_exceptions=True)
        [lease] = [result for result in results if isinstance(result, Lease)]
        busy = [result for result in results if isinstance(result, SessionBusy)]
        assert len(busy) == AT_ONCE - 1
        assert {refused.task_id for refused in busy} == {lease.task_id}


async def test_one_of_many_takes_over_a_lost_turn(dynamodb: Bench) -> None:
    for _ in range(ROUNDS):
        task = await dynamodb.submitted(await dynamodb.session())
        old = await dynamodb.claim(task)
        dynamodb.clock.now = old.until
        results = await asyncio.gather(*(dynamodb.claim(task) for _ in range(AT_ONCE)), return_exceptions=True)
        [lease] = [result for result in results if isinstance(result, Lease)]
        assert lease.fence == old.fence + 1
        assert sum(isinstance(result, SessionBusy) for result in results) == AT_ONCE - 1


async def test_one_key_makes_one_task(dynamodb: Bench) -> None:
    for _ in range(ROUNDS):
        session = await dynamodb.session()
        key = Idempotency("key", "fingerprint")
        results: list[Submitted] = await asyncio.gather(
            *(dynamodb.store.submit(dynamodb.task(session), nonce=nonce(), idempotency=key) for _ in range(AT_ONCE))
        )
        assert sum(result.created for result in results) == 1
        assert len({result.task.id for result in results}) == 1
        assert len((await dynamodb.store.list_tasks(dynamodb.principal, session.id)).items) == 1


async def test_one_of_two_commits_takes_effect(dynamodb: Bench) -> None:
    for _ in range(ROUNDS):
        lease = await dynamodb.claimed(await dynamodb.session())
        outcomes = [DONE, Outcome(TaskState.FAILED, 0)]
        results = await asyncio.gather(
            *(dynamodb.store.commit(lease, outcome, nonce=nonce()) for outcome in outcomes), return_exceptions=True
        )
        assert sum(isinstance(result, TaskClosed) for result in results) == 1
        [task] = [result for result in results if not isinstance(result, BaseException)]
        assert await dynamodb.store.read_task(dynamodb.principal, lease.task_id) == task


async def test_a_late_worker_and_who_takes_over_do_not_both_write(dynamodb: Bench) -> None:
    for _ in range(ROUNDS):
        task = await dynamodb.submitted(await dynamodb.session())
        old = await dynamodb.claim(task)
        dynamodb.clock.now = old.until

        async def take_over(task_id: str = task.id) -> bool:
            try:
                lease = await dynamodb.claim(await dynamodb.store.read_task(dynamodb.principal, task_id))
                await dynamodb.store.append_events(lease, pieces(1, 2), extend=LEASE)
            except SessionBusy:
                return False
            return True

        async def come_late(lease: Lease = old) -> bool:
            try:
                await dynamodb.store.append_events(lease, pieces(1, 5), extend=LEASE)
            except LeaseLost:
                return False
            return True

        results = await asyncio.gather(take_over(), come_late())
        assert sum(results) == 1
        assert await dynamodb.numbers(task.id) == ([1, 2] if results[0] else [1, 2, 3, 4, 5])


async def test_cancel_and_claim_agree(dynamodb: Bench) -> None:
    for _ in range(ROUNDS):
        task = await dynamodb.submitted(await dynamodb.session())
        lease, canceled = await asyncio.gather(
            dynamodb.claim(task), dynamodb.store.request_cancel(dynamodb.principal, task.id)
        )
        heard = (await dynamodb.store.check_lease(lease)).cancel_requested
        try:
            ended = await dynamodb.ended(lease)
        except TaskClosed:
            ended = await dynamodb.store.read_task(dynamodb.principal, task.id)
            assert ended.state is TaskState.CANCELED
        if canceled.state is TaskState.WORKING:
            assert heard


async def test_a_line_and_its_claims_agree(dynamodb: Bench) -> None:
    """Workers on two machines claim what is next, as others line up, and give up, beside them."""
    for _ in range(ROUNDS):
        session = await dynamodb.session()
        tasks = [await dynamodb.submitted(session) for _ in range(AT_ONCE)]
        ran: list[str] = []
        gave_up: set[str] = set()

        async def run(task: Task, store: Store, ran: list[str] = ran) -> None:
            try:
                lease = await store.claim(
                    dynamodb.principal, task.session_id, task.id, lease=LEASE, nonce=nonce(), takeover=False
                )
            except SessionBusy:
                return
            ran.append(task.id)
            try:
                await store.commit(lease, DONE, nonce=nonce())
            except TaskClosed:
                ran.remove(task.id)
            await store.release(lease)

        async def wait(task: Task, impatient: bool, store: Store, gave_up: set[str] = gave_up) -> None:
            await store.line_up(dynamodb.principal, task.id, most=AT_ONCE)
            if impatient:
                left = await store.leave_line(dynamodb.principal, task.id, Outcome(TaskState.FAILED, 0), nonce=nonce())
                if left.state is TaskState.FAILED:
                    gave_up.add(task.id)
            while True:
                shown = await store.read_session(dynamodb.principal, task.session_id)
                if task.id not in shown.waiting:
                    return
                if shown.open_task_id is None:
                    await run(task, store)

        stores = [dynamodb.store, dynamodb.another()]
        await asyncio.gather(*(wait(task, index % 4 == 3, stores[index % 2]) for index, task in enumerate(tasks)))
        shown = await dynamodb.store.read_session(dynamodb.principal, session.id)
        assert (shown.waiting, shown.open_task_id, shown.turns) == ((), None, len(ran))
        assert sorted([*ran, *gave_up]) == sorted(task.id for task in tasks)
        history = await dynamodb.store.read_history(dynamodb.principal, session.id, limit=AT_ONCE)
        assert [(turn.id, turn.turn) for turn in history] == [(id_, number) for number, id_ in enumerate(ran, 1)]


async def test_one_of_many_gets_the_only_place(dynamodb: Bench) -> None:
    for most in (0, 1):
        session = await dynamodb.session()
        tasks = [await dynamodb.submitted(session) for _ in range(AT_ONCE)]
        results = await asyncio.gather(
            *(dynamodb.store.line_up(dynamodb.principal, task.id, most=most) for task in tasks), return_exceptions=True
        )
        [shown] = [result for result in results if isinstance(result, Session)]
        assert sum(isinstance(result, SessionBusy) for result in results) == AT_ONCE - 1
        assert (await dynamodb.store.read_session(dynamodb.principal, session.id)).waiting == shown.waiting


async def test_the_furthest_of_many_summaries_stays(dynamodb: Bench) -> None:
    for _ in range(ROUNDS):
        lease = await dynamodb.claimed(await dynamodb.session())
        summaries = [Summary(f"through {number}", number) for number in range(1, AT_ONCE)]
        await asyncio.gather(*(dynamodb.store.save_summary(lease, summary) for summary in summaries))
        assert await dynamodb.store.read_summary(dynamodb.principal, lease.session.id) == summaries[-1]


async def test_events_are_read_without_gaps_while_they_are_written(dynamodb: Bench) -> None:
    lease = await dynamodb.claimed(await dynamodb.session())
    writing = True

    async def write() -> None:
        nonlocal writing
        last = 0
        for size in (1, 2, 3, 140, 5, 1, 1, 200, 7, 1):
            await dynamodb.store.append_events(lease, pieces(last + 1, last + size), extend=LEASE)
            last += size
        await dynamodb.ended(lease, Outcome(TaskState.COMPLETED, last))
        writing = False

    async def follow() -> list[int]:
        seen: list[int] = []
        while True:
            page = await dynamodb.store.read_events(dynamodb.principal, lease.task_id, after=len(seen))
            numbers = [event.number for event in page.events]
            assert numbers == list(range(len(seen) + 1, len(seen) + len(numbers) + 1))
            seen += numbers
            if not page.open:
                return seen

    _, *followed = await asyncio.gather(write(), follow(), follow(), follow())
    assert followed == [list(range(1, 362))] * 3
    assert not writing


async def test_no_write_survives_a_delete(dynamodb: Bench) -> None:
    for _ in range(ROUNDS):
        session = await dynamodb.session()
        lease = await dynamodb.claimed(session)

        async def write(lease: Lease = lease) -> None:
            last = 0
            while True:
                await dynamodb.store.append_events(lease, pieces(last + 1, last + 1), extend=LEASE)
                last += 1

        results = await asyncio.gather(
            write(), dynamodb.store.delete_session(dynamodb.principal, session.id), return_exceptions=True
        )
        assert isinstance(results[0], HectorError)
        assert results[1] is None
