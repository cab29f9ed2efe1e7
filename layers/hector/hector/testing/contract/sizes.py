"""As large as may be: messages, answers, logs and summaries of a megabyte, and sessions of 5,000 turns."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hector.errors import NotFound
from hector.model import Event, EventKind, Message, Part, Role, Session, Summary, Task, TaskState, Usage, copied_task_id
from hector.stores.base import Idempotency, Outcome, StagedTurn
from hector.testing.bench import LEASE, Bench, nonce, pieces, said
from hector.testing.contract.session_keys import new

MEGABYTE = 1024 * 1024
LARGE = [
    said("x" * MEGABYTE),
    said("zwölf 🥊 " * (MEGABYTE // 13)),
    said('"\n\\' * (MEGABYTE // 3)),
    Message(Role.USER, (Part("what is this?"), Part(raw=bytes(range(256)) * 3000, media_type="image/png"))),
]
TURNS = 5000


@pytest.mark.parametrize("message", LARGE, ids=["ascii", "unicode", "escapes", "file"])
async def test_a_megabyte_comes_back_wherever_it_is_read(bench: Bench, message: Message) -> None:
    session = await bench.session()
    task = replace(bench.task(session), input=message)
    mine, key = nonce(), Idempotency("key", "fingerprint")
    assert (await bench.store.submit(task, nonce=mine, idempotency=key)).created
    other = bench.another()
    assert await other.read_task(bench.principal, task.id) == task
    assert (await other.submit(bench.task(session), nonce=nonce(), idempotency=key)).task == task
    lease = await bench.claim(task)
    outcome = Outcome(TaskState.COMPLETED, 1, replace(message, role=Role.AGENT), Usage(1, 2))
    ended = await bench.ended(lease, outcome)
    assert (ended.input, ended.output) == (message, outcome.output)
    assert await other.read_task(bench.principal, task.id) == ended
    small = await bench.turn(session)
    assert await other.read_history(bench.principal, session.id, limit=5) == [ended, small]
    assert await other.read_history(bench.principal, session.id, limit=1) == [small]
    assert (await other.list_tasks(bench.principal, session.id)).items == [small, ended]
    await bench.store.delete_session(bench.principal, session.id)
    with pytest.raises(NotFound):
        await other.read_task(bench.principal, task.id)


@pytest.mark.parametrize("prompt", [150_000, 190_000, 200_000, 350_000, 410_000])
@pytest.mark.parametrize("answer", [10, 189_990, 220_000, 409_600])
async def test_every_size_of_prompt_and_answer(bench: Bench, prompt: int, answer: int) -> None:
    """DynamoDB's items end at 400 KB."""
    task = replace(bench.task(await bench.session()), input=said("p" * prompt))
    await bench.store.submit(task, nonce=nonce())
    outcome = Outcome(TaskState.COMPLETED, 0, Message.of(Role.AGENT, "a" * answer))
    ended = await bench.ended(await bench.claim(task), outcome)
    assert ended.output == outcome.output
    assert await bench.another().read_task(bench.principal, task.id) == ended


async def test_a_discarded_megabyte_is_gone_and_a_canceled_one_comes_back(bench: Bench) -> None:
    session = await bench.session()
    task, mine = replace(bench.task(session), input=LARGE[0]), nonce()
    await bench.store.submit(task, nonce=mine)
    await bench.store.discard(task, nonce=mine)
    with pytest.raises(NotFound):
        await bench.store.read_task(bench.principal, task.id)
    await bench.store.submit(task, nonce=nonce())
    canceled = await bench.store.request_cancel(bench.principal, task.id)
    assert (canceled.state, canceled.input) == (TaskState.CANCELED, LARGE[0])


async def test_two_submits_of_one_large_task_leave_the_first(bench: Bench) -> None:
    session = await bench.session()
    task = replace(bench.task(session), input=LARGE[0])
    await bench.store.submit(task, nonce=nonce())
    late = replace(task, input=said("y" * MEGABYTE))
    assert await bench.another().submit(late, nonce=nonce()) == await bench.store.submit(task, nonce=nonce())
    assert await bench.store.read_task(bench.principal, task.id) == task


@pytest.mark.parametrize("after", [0, 1, 2, 3, 4, 5])
async def test_events_of_a_megabyte(bench: Bench, after: int) -> None:
    lease = await bench.claimed(await bench.session())
    events = pieces(1, 5)
    events[1] = events[1]._replace(text="x" * MEGABYTE)
    events[3] = events[3]._replace(text="ö" * (MEGABYTE // 2))
    lease = await bench.store.append_events(lease, events[:3], extend=LEASE)
    for _ in range(2):
        lease = await bench.store.append_events(lease, events[3:], extend=LEASE)
    page = await bench.another().read_events(bench.principal, lease.task_id, after=after)
    assert page.events == events[after:]
    page = await bench.store.read_events(bench.principal, lease.task_id, after=after, limit=2)
    assert page.events == events[after : after + 2]


async def test_a_batch_of_several_megabytes(bench: Bench) -> None:
    lease = await bench.claimed(await bench.session())
    events = [event._replace(text=f"{event.number} " * 20_000) for event in pieces(1, 40)]
    await bench.store.append_events(lease, events, extend=LEASE)
    for after in (0, 1, 7, 39):
        page = await bench.store.read_events(bench.principal, lease.task_id, after=after)
        assert page.events == events[after:]


async def test_a_summary_of_a_megabyte(bench: Bench) -> None:
    session = await bench.session()
    lease = await bench.claimed(session)
    for summary in (Summary("ü" * (MEGABYTE // 2), 1), Summary("short", 2), Summary("x" * MEGABYTE, 3)):
        await bench.store.save_summary(lease, summary)
        assert await bench.another().read_summary(bench.principal, session.id) == summary


async def test_staged_turns_of_a_megabyte(bench: Bench) -> None:
    session = replace(new(bench), turns=len(LARGE))
    turns = [
        StagedTurn(
            replace(_ended(session, number), input=message, output=replace(message, role=Role.AGENT), last_event=1),
            [Event(1, EventKind.MESSAGE, message.text)],
        )
        for number, message in enumerate(LARGE, 1)
    ]
    await bench.store.stage_turns(session, turns)
    await bench.store.create_session(session)
    assert await bench.store.read_history(bench.principal, session.id, limit=10) == [turn.task for turn in turns]
    for turn in turns:
        assert (await bench.store.read_events(bench.principal, turn.task.id, after=0)).events == turn.events


async def test_a_session_of_5000_turns(bench: Bench) -> None:
    session = replace(new(bench), turns=TURNS)
    tasks = [_ended(session, number + 1) for number in range(TURNS)]
    for start in range(0, TURNS, 500):
        await bench.store.stage_turns(session, [StagedTurn(task, []) for task in tasks[start : start + 500]])
    await bench.store.create_session(session)
    assert await bench.store.read_history(bench.principal, session.id, limit=50) == tasks[-50:]
    newest = await bench.turn(session)
    assert newest.turn == TURNS + 1
    tasks.append(newest)
    assert await bench.another().read_history(bench.principal, session.id, limit=3) == tasks[-3:]
    assert await _listed(bench, session, oldest_first=False, most=TURNS + 1) == tasks[::-1]
    assert await _listed(bench, session, oldest_first=True, most=1400) == tasks[:1400]
    await bench.store.delete_session(bench.principal, session.id)
    for task in (tasks[0], newest):
        with pytest.raises(NotFound):
            await bench.store.read_task(bench.principal, task.id)


async def _listed(bench: Bench, session: Session, *, oldest_first: bool, most: int) -> list[Task]:
    found: list[Task] = []
    cursor = None
    while len(found) < most:
        page = await bench.store.list_tasks(
            bench.principal, session.id, oldest_first=oldest_first, cursor=cursor, limit=700
        )
        found += page.items
        if (cursor := page.next_cursor) is None:
            break
    return found


def _ended(session: Session, turn: int) -> Task:
    at = session.created_at
    return Task(
        copied_task_id(session.id, at, turn),
        session.id,
        session.agent_id,
        TaskState.COMPLETED,
        said(f"question {turn}"),
        at,
        at,
        Message.of(Role.AGENT, f"answer {turn}"),
        turn=turn,
    )
