"""submit and discard: a message is durable before anyone runs it, and an idempotency key stands for one task."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from hector.errors import IdempotencyKeyReused, NotFound
from hector.model import Message, Part, Role, Session, Task, TaskState, new_session_id
from hector.stores.base import Idempotency
from hector.testing.bench import TTL, Bench, nonce

KEY = Idempotency("key", "fingerprint")

MESSAGES = [
    Message.of(Role.USER, ""),
    Message.of(Role.USER, 'zwölf Boxkämpfer 🥊\n"quoted" \\ \x00 \u2028'),
    Message(Role.USER, (Part("first"), Part('{"a": 1}', "application/json"), Part(""))),
    Message.of(Role.USER, "long " * 20_000),
    Message(Role.USER, (
        Part("what is this?", filename="question.txt"),
        Part(raw=bytes(range(256)), media_type="image/png", filename="ein Bild 🖼.png"),
        Part(url="https://example.com/a.pdf?b=c", media_type="application/pdf"),
        Part(raw=b"", media_type="application/octet-stream"),
    )),
    Message(Role.USER, (Part(raw=b"x" * 150_000, media_type="image/jpeg"),)),
]  # fmt: skip


@pytest.mark.parametrize("message", MESSAGES, ids=["empty", "unicode", "parts", "long", "files", "large"])
async def test_reads_back_every_field(bench: Bench, message: Message) -> None:
    task = replace(bench.task(await bench.session()), input=message)
    submitted = await bench.store.submit(task, nonce=nonce())
    assert (submitted.task, submitted.created) == (task, True)
    assert await bench.store.read_task(bench.principal, task.id) == task
    assert await bench.another().read_task(bench.principal, task.id) == task


async def test_no_such_session(bench: Bench) -> None:
    session = await bench.session()
    task = bench.task(replace(session, id=new_session_id()))
    with pytest.raises(NotFound):
        await bench.store.submit(task, nonce=nonce())


async def test_a_store_that_has_not_seen_the_session_submits_too(bench: Bench) -> None:
    task = bench.task(await bench.session())
    assert (await bench.another().submit(task, nonce=nonce())).created
    assert await bench.store.read_task(bench.principal, task.id) == task


async def test_ones_own_retry_is_recognised(bench: Bench) -> None:
    task, mine = bench.task(await bench.session()), nonce()
    first = await bench.store.submit(task, nonce=mine)
    assert await bench.store.submit(task, nonce=mine) == first


async def test_submitting_again_never_writes_over(bench: Bench) -> None:
    session = await bench.session()
    task = await bench.turn(session)
    again = await bench.store.submit(replace(task, state=TaskState.SUBMITTED, turn=0), nonce=nonce())
    assert (again.task, again.created) == (task, False)
    assert await bench.store.read_task(bench.principal, task.id) == task


async def test_a_key_gives_back_the_first_task(bench: Bench) -> None:
    session = await bench.session()
    first = await bench.store.submit(bench.task(session), nonce=nonce(), idempotency=KEY)
    second = await bench.store.submit(bench.task(session), nonce=nonce(), idempotency=KEY)
    assert (second.task, second.created) == (first.task, False)
    assert (await bench.store.list_tasks(bench.principal, session.id)).items == [first.task]


async def test_a_key_gives_back_an_ended_task_with_its_answer(bench: Bench) -> None:
    session = await bench.session()
    first = await bench.store.submit(bench.task(session), nonce=nonce(), idempotency=KEY)
    ended = await bench.ended(await bench.claim(first.task))
    second = await bench.store.submit(bench.task(session), nonce=nonce(), idempotency=KEY)
    assert (second.task, second.created) == (ended, False)


async def test_ones_own_retry_with_a_key_is_recognised(bench: Bench) -> None:
    task, mine = bench.task(await bench.session()), nonce()
    first = await bench.store.submit(task, nonce=mine, idempotency=KEY)
    assert await bench.store.submit(task, nonce=mine, idempotency=KEY) == first
    assert first.created


async def test_a_key_with_another_body_is_refused(bench: Bench) -> None:
    session = await bench.session()
    first = await bench.store.submit(bench.task(session), nonce=nonce(), idempotency=KEY)
    with pytest.raises(IdempotencyKeyReused) as refused:
        await bench.store.submit(bench.task(session), nonce=nonce(), idempotency=Idempotency(KEY.key, "other"))
    assert refused.value.field == "Idempotency-Key"
    assert (await bench.store.list_tasks(bench.principal, session.id)).items == [first.task]


@pytest.mark.parametrize("key", ["x" * 2000, "ключ/#~", " ", "\0"])
async def test_any_key_will_do(bench: Bench, key: str) -> None:
    session = await bench.session()
    first = await bench.store.submit(bench.task(session), nonce=nonce(), idempotency=Idempotency(key, "f"))
    other = await bench.store.submit(bench.task(session), nonce=nonce(), idempotency=Idempotency(key + "'", "f"))
    again = await bench.store.submit(bench.task(session), nonce=nonce(), idempotency=Idempotency(key, "f"))
    assert other.created
    assert again.task == first.task


async def test_a_key_belongs_to_its_session(bench: Bench) -> None:
    for session in (await bench.session(), await bench.session()):
        assert (await bench.store.submit(bench.task(session), nonce=nonce(), idempotency=KEY)).created


async def discarded(bench: Bench, session: Session) -> Task:
    task, mine = bench.task(session), nonce()
    await bench.store.submit(task, nonce=mine, idempotency=KEY)
    await bench.store.discard(task, nonce=mine)
    return task


async def test_discard_takes_back_the_task_and_its_key(bench: Bench) -> None:
    session = await bench.session()
    task = await discarded(bench, session)
    with pytest.raises(NotFound):
        await bench.store.read_task(bench.principal, task.id)
    assert (await bench.store.list_tasks(bench.principal, session.id)).items == []
    other = Idempotency(KEY.key, "another body")
    assert (await bench.store.submit(bench.task(session), nonce=nonce(), idempotency=other)).created


async def test_discard_can_be_repeated(bench: Bench) -> None:
    session = await bench.session()
    task = await discarded(bench, session)
    await bench.store.discard(task, nonce=nonce())


async def test_discard_leaves_what_another_submitted(bench: Bench) -> None:
    task = await bench.submitted(await bench.session())
    await bench.store.discard(task, nonce=nonce())
    assert await bench.store.read_task(bench.principal, task.id) == task


@pytest.mark.parametrize("ended", [False, True])
async def test_discard_leaves_what_has_been_run(bench: Bench, ended: bool) -> None:
    task, mine = bench.task(await bench.session()), nonce()
    await bench.store.submit(task, nonce=mine)
    lease = await bench.claim(task)
    if ended:
        await bench.ended(lease)
    before = await bench.store.read_task(bench.principal, task.id)
    await bench.store.discard(task, nonce=mine)
    assert await bench.store.read_task(bench.principal, task.id) == before


async def test_submitting_does_not_keep_a_session_alive(bench: Bench) -> None:
    session = await bench.session()
    await bench.submitted(session)
    bench.clock.now = session.created_at + TTL
    with pytest.raises(NotFound):
        await bench.store.read_session(bench.principal, session.id)


async def test_a_key_that_is_submitted_and_taken_back_by_many_at_once(bench: Bench) -> None:
    session = await bench.session()

    async def submit_and_discard() -> None:
        mine = nonce()
        submitted = await bench.store.submit(bench.task(session), nonce=mine, idempotency=KEY)
        if submitted.created:
            await bench.store.discard(submitted.task, nonce=mine)

    for _ in range(5):
        await asyncio.gather(*(submit_and_discard() for _ in range(10)))
    assert (await bench.store.submit(bench.task(session), nonce=nonce(), idempotency=KEY)).created
