"""What is too large for an item: where it goes, when it can be seen, what it costs, and when it is gone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hector.errors import LeaseLost, NotFound, StoreUnavailable, TaskClosed
from hector.model import Message, Role, Session, Summary, TaskState
from hector.stores.base import Lease, Outcome
from hector.stores.dynamodb import connection
from hector.stores.dynamodb.overflow import MOST_BYTES, PART_BYTES, joined, keys_of, moved_out
from hector.stores.dynamodb.rows import Row
from hector.testing.bench import DONE, LEASE, Bench, nonce, pieces, said
from tests.contract.dynamodb.test_table import DAY, rows_of
from tests.contract.dynamodb.wire import batch_reads, losing_answers

LARGE = 500_000


@pytest.mark.parametrize("text", ["", "x", "x" * 350_001, "äö" * 300_000, "🥊" * 200_000, "a🥊é€" * 100_000])
def test_whatever_is_cut_is_whole_again(text: str) -> None:
    key = ("session", "task#1")
    row: Row = {"pk": key[0], "sk": key[1], "prompt": text, "other": "x" * LARGE}
    kept, parts = moved_out(key, row, "nonce", 7)
    assert all(len(part["part"].encode()) <= PART_BYTES for part in parts)
    assert {part["ttl"] for part in parts} <= {7}
    assert [(part["pk"], part["sk"]) for part in parts] == keys_of(kept)
    assert (kept == row) == (len(text.encode()) <= MOST_BYTES["prompt"]) == (not parts)
    found = {(part["pk"], part["sk"]): part for part in parts}
    assert {name: joined(kept, found)[name] for name in row} == row


async def large_session(bench: Bench) -> Session:
    session = await bench.session()
    lease = await bench.claim(await bench.submitted(session, "q" * LARGE))
    await bench.store.append_events(lease, [pieces(1, 1)[0]._replace(text="e" * LARGE)], extend=LEASE)
    await bench.store.save_summary(lease, Summary("s" * LARGE, 1))
    await bench.ended(lease, Outcome(TaskState.COMPLETED, 1, Message.of(Role.AGENT, "a" * LARGE)))
    return session


async def test_parts_stay_as_long_as_the_rest_and_go_with_it(dynamodb: Bench) -> None:
    session = await large_session(dynamodb)
    parts = [row for sk, row in rows_of(dynamodb, session).items() if sk.startswith("part#")]
    assert len(parts) == 8
    assert {row["ttl"] for row in parts} == {session.last_expiry // 1000 + DAY}
    await dynamodb.store.delete_session(dynamodb.principal, session.id)
    assert rows_of(dynamodb, session) == {}


async def test_what_is_small_has_no_parts(dynamodb: Bench) -> None:
    session = await dynamodb.session()
    lease = await dynamodb.claim(await dynamodb.submitted(session, "q" * 180_000))
    await dynamodb.store.append_events(lease, [pieces(1, 1)[0]._replace(text="e" * 340_000)], extend=LEASE)
    await dynamodb.store.save_summary(lease, Summary("s" * 340_000, 1))
    await dynamodb.ended(lease, Outcome(TaskState.COMPLETED, 1, Message.of(Role.AGENT, "a" * 180_000)))
    assert not [sk for sk in rows_of(dynamodb, session) if sk.startswith("part#")]


async def test_a_discarded_task_leaves_no_parts(dynamodb: Bench) -> None:
    session = await dynamodb.session()
    task, mine = replace(dynamodb.task(session), input=said("q" * LARGE)), nonce()
    await dynamodb.store.submit(task, nonce=mine)
    await dynamodb.store.discard(task, nonce=mine)
    assert list(rows_of(dynamodb, session)) == ["hot"]


@pytest.fixture
def one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ATTEMPTS", 1)


async def test_a_crash_before_the_row_leaves_nothing_that_is_seen(one_attempt: None, dynamodb: Bench) -> None:
    """The parts are written, and what refers to them is not."""
    session = await dynamodb.session()
    task = replace(dynamodb.task(session), input=said("q" * LARGE))
    with losing_answers(dynamodb.store, "BatchWriteItem") as sent, pytest.raises(StoreUnavailable):
        await dynamodb.store.submit(task, nonce=nonce())
    assert sent == ["BatchWriteItem!"]
    assert (await dynamodb.store.list_tasks(dynamodb.principal, session.id)).items == []
    lease = await dynamodb.claimed(session)
    answer = Outcome(TaskState.COMPLETED, 0, Message.of(Role.AGENT, "a" * LARGE))
    with losing_answers(dynamodb.store, "BatchWriteItem"), pytest.raises(StoreUnavailable):
        await dynamodb.store.commit(lease, answer, nonce=nonce())
    assert (await dynamodb.store.read_task(dynamodb.principal, lease.task_id)).state is TaskState.WORKING
    batch = [pieces(1, 1)[0]._replace(text="e" * LARGE)]
    with losing_answers(dynamodb.store, "BatchWriteItem"), pytest.raises(StoreUnavailable):
        await dynamodb.store.append_events(lease, batch, extend=LEASE)
    assert await dynamodb.numbers(lease.task_id) == []
    await dynamodb.store.append_events(lease, batch, extend=LEASE)
    assert (await dynamodb.store.read_events(dynamodb.principal, lease.task_id, after=0)).events == batch
    assert (await dynamodb.ended(lease, answer)).output == answer.output


async def test_a_refused_write_changes_nothing_of_what_is_there(dynamodb: Bench) -> None:
    task = await dynamodb.submitted(await dynamodb.session())
    old = await dynamodb.claim(task)
    dynamodb.clock.now = old.until
    new = await dynamodb.claim(task)
    mine, theirs = (Outcome(TaskState.COMPLETED, 1, Message.of(Role.AGENT, letter * LARGE)) for letter in ("m", "t"))
    batch = [pieces(1, 1)[0]._replace(text="m" * LARGE)]
    await dynamodb.store.append_events(new, batch, extend=LEASE)
    with pytest.raises(LeaseLost):
        await dynamodb.store.append_events(old, [pieces(1, 1)[0]._replace(text="t" * LARGE)], extend=LEASE)
    with pytest.raises(LeaseLost):
        await dynamodb.store.save_summary(old, Summary("t" * LARGE, 9))
    ended = await dynamodb.store.commit(new, mine, nonce=nonce())
    with pytest.raises((LeaseLost, TaskClosed)):
        await dynamodb.store.commit(old, theirs, nonce=nonce())
    assert await dynamodb.store.read_task(dynamodb.principal, task.id) == ended
    assert (await dynamodb.store.read_events(dynamodb.principal, task.id, after=0)).events == batch


async def test_history_and_logs_read_only_the_parts_that_are_asked_for(dynamodb: Bench) -> None:
    session = await large_session(dynamodb)
    small = await dynamodb.turn(session)
    with batch_reads(dynamodb.store) as read:
        assert await dynamodb.store.read_history(dynamodb.principal, session.id, limit=1) == [small]
        assert (await dynamodb.store.list_tasks(dynamodb.principal, session.id, limit=1)).items == [small]
        [_, large] = (await dynamodb.store.list_tasks(dynamodb.principal, session.id, oldest_first=True)).items[::-1]
        assert len(read) == 4
        read.clear()
        assert await dynamodb.numbers(large.id, after=1) == []
        assert read == []
        assert await dynamodb.numbers(large.id) == [1]
        assert len(read) == 2


async def test_a_session_that_is_erased_while_it_is_read_is_not_found(dynamodb: Bench) -> None:
    session = await large_session(dynamodb)
    [task] = await dynamodb.store.read_history(dynamodb.principal, session.id, limit=1)

    async def reads(store_read: str) -> object:
        match store_read:
            case "task":
                return await dynamodb.store.read_task(dynamodb.principal, task.id)
            case "events":
                return await dynamodb.store.read_events(dynamodb.principal, task.id, after=0)
            case "summary":
                return await dynamodb.store.read_summary(dynamodb.principal, session.id)
            case _:
                return await dynamodb.store.read_history(dynamodb.principal, session.id, limit=1)

    table = dynamodb.store._table  # type: ignore[attr-defined]
    parts = [(session.id, sk) for sk in rows_of(dynamodb, session) if sk.startswith("part#")]
    await table.delete_many(parts)
    for name in ("task", "events", "summary", "history"):
        with pytest.raises(NotFound):
            await reads(name)


async def test_a_history_of_many_megabytes(dynamodb: Bench) -> None:
    """Beyond what one page, and one batch of reads, can hold (16 MB)."""
    session = await dynamodb.session()
    turns = []
    for number in range(12):
        lease: Lease = await dynamodb.claim(await dynamodb.submitted(session, f"{number} " * 350_000))
        turns.append(await dynamodb.ended(lease, DONE._replace(output=Message.of(Role.AGENT, "a" * 1_000_000))))
    assert await dynamodb.another().read_history(dynamodb.principal, session.id, limit=20) == turns
