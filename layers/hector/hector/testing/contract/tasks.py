"""read_task, list_tasks."""

from __future__ import annotations

import pytest

from hector.errors import InvalidRequest, NotFound
from hector.model import TaskState, new_session_id, new_task_id
from hector.testing.bench import DONE, Bench, nonce


async def test_a_task_is_submitted_then_working_then_ended(bench: Bench) -> None:
    task = await bench.submitted(await bench.session())
    states = []

    async def look() -> None:
        read = await bench.store.read_task(bench.principal, task.id)
        listed = (await bench.store.list_tasks(bench.principal, task.session_id)).items
        assert listed == [read]
        states.append(read.state)

    await look()
    lease = await bench.claim(task)
    await look()
    await bench.store.commit(lease, DONE, nonce=nonce())
    await look()
    await bench.store.release(lease)
    await look()
    assert states == [TaskState.SUBMITTED, TaskState.WORKING, TaskState.COMPLETED, TaskState.COMPLETED]


async def test_a_lost_turn_is_still_working_until_it_is_closed(bench: Bench) -> None:
    lease = await bench.claimed(await bench.session())
    bench.clock.now = lease.until + 1
    assert (await bench.store.read_task(bench.principal, lease.task_id)).state is TaskState.WORKING


async def test_unknown_task(bench: Bench) -> None:
    session = await bench.session()
    task_id = new_task_id(session.id, bench.clock.now)
    with pytest.raises(NotFound):
        await bench.store.read_task(bench.principal, task_id)
    with pytest.raises(NotFound):
        await bench.store.read_events(bench.principal, task_id, after=0)
    with pytest.raises(NotFound):
        await bench.store.request_cancel(bench.principal, task_id)


async def test_lists_newest_first_in_pages(bench: Bench) -> None:
    session = await bench.session()
    await bench.turn(await bench.session())
    tasks = [await bench.turn(session) for _ in range(5)]
    seen, cursor = [], None
    for size in (2, 2, 1):
        page = await bench.store.list_tasks(bench.principal, session.id, cursor=cursor, limit=2)
        assert len(page.items) == size
        seen += page.items
        cursor = page.next_cursor
    assert cursor is None
    assert seen == tasks[::-1]


async def test_a_full_last_page_has_no_cursor(bench: Bench) -> None:
    session = await bench.session()
    tasks = [await bench.submitted(session) for _ in range(2)]
    page = await bench.store.list_tasks(bench.principal, session.id, limit=2)
    assert (page.items, page.next_cursor) == (tasks[::-1], None)


async def test_a_task_submitted_meanwhile_does_not_shift_the_pages(bench: Bench) -> None:
    session = await bench.session()
    old = [await bench.submitted(session) for _ in range(3)]
    page = await bench.store.list_tasks(bench.principal, session.id, limit=2)
    await bench.submitted(session)
    rest = await bench.store.list_tasks(bench.principal, session.id, limit=2, cursor=page.next_cursor)
    assert rest.items == [old[0]]


async def test_refuses_a_cursor_that_is_not_ours(bench: Bench) -> None:
    session, other = await bench.session(), await bench.session()
    foreign = (await bench.submitted(other)).id
    for cursor in ("", "x", "ä", foreign, "9" * 5000):
        with pytest.raises(InvalidRequest) as refused:
            await bench.store.list_tasks(bench.principal, session.id, cursor=cursor)
        assert refused.value.field == "cursor"


async def test_unknown_session(bench: Bench) -> None:
    with pytest.raises(NotFound):
        await bench.store.list_tasks(bench.principal, new_session_id())


async def test_lists_oldest_first_in_pages(bench: Bench) -> None:
    session = await bench.session()
    tasks = [await bench.turn(session) for _ in range(5)]
    found: list[str] = []
    cursor = None
    for size in (2, 2, 1):
        page = await bench.store.list_tasks(bench.principal, session.id, oldest_first=True, cursor=cursor, limit=2)
        assert len(page.items) == size
        found += [task.id for task in page.items]
        cursor = page.next_cursor
    assert cursor is None
    assert found == [task.id for task in tasks]


@pytest.mark.parametrize("oldest_first", [False, True])
async def test_lists_by_state_in_full_pages(bench: Bench, oldest_first: bool) -> None:
    session = await bench.session()
    tasks = []
    for _ in range(4):
        tasks.append(await bench.turn(session))
        waiting = await bench.submitted(session)
        await bench.store.request_cancel(bench.principal, waiting.id)
    lease = await bench.claimed(session)
    waiting = await bench.submitted(session)

    async def listed(state: TaskState) -> list[str]:
        found: list[str] = []
        cursor = None
        while True:
            page = await bench.store.list_tasks(
                bench.principal, session.id, state=state, oldest_first=oldest_first, cursor=cursor, limit=3
            )
            found += [task.id for task in page.items]
            assert len(page.items) == 3 or page.next_cursor is None
            if (cursor := page.next_cursor) is None:
                return found if oldest_first else found[::-1]

    assert await listed(TaskState.COMPLETED) == [task.id for task in tasks]
    assert len(await listed(TaskState.CANCELED)) == 4
    assert await listed(TaskState.WORKING) == [lease.task_id]
    assert await listed(TaskState.SUBMITTED) == [waiting.id]
    assert await listed(TaskState.FAILED) == []
