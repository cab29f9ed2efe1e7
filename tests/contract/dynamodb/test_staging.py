"""Turns are staged while the table's stream tells, late, of the session's former life: nothing of the new one goes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from hector.model import Session
from hector.stores.base import Idempotency, StagedTurn
from hector.stores.dynamodb import DynamoDBStore
from hector.stores.dynamodb.expiry import erase_gone
from hector.stores.dynamodb.rows import Row
from hector.stores.dynamodb.table import Table
from hector.testing import Bench
from hector.testing.bench import TTL, nonce
from hector.testing.contract.session_keys import new
from hector.testing.contract.staging import ended
from tests.contract.dynamodb.test_expiry import bench, deleted_by_ttl, picked, rows_in, stream_of
from tests.contract.dynamodb.units import recorded
from tests.contract.dynamodb.wire import Send, client_of, sending

__all__ = ["bench"]
COUNT = 5


def turns_of(session: Session) -> list[StagedTurn]:
    return [ended(session, number + 1) for number in range(COUNT)]


async def former_life(bench: Bench, *, staged: bool) -> tuple[Session, dict[str, Any]]:
    """A session that has ended, and what the stream tells of that."""
    session = replace(new(bench), metadata={"a": 1}, turns=COUNT if staged else 0)
    if staged:
        await bench.store.stage_turns(session, turns_of(session))
    await bench.store.create_session(session, idempotency=Idempotency("key", "fingerprint"))
    await bench.turn(session)
    await bench.store.delete_session(bench.principal, session.id)
    event = picked(stream_of(bench))
    assert len(event["Records"]) == 1
    return replace(session, turns=COUNT), event


async def erased(bench: Bench, event: dict[str, Any]) -> None:
    """As the function behind the table's stream does."""
    store = bench.another()
    assert isinstance(store, DynamoDBStore)
    await erase_gone(store, event)


async def whole(bench: Bench, session: Session, turns: list[StagedTurn]) -> bool:
    store = bench.another()
    history = await store.read_history(bench.principal, session.id, limit=9)
    logs = [(await store.read_events(bench.principal, task.id, after=0)).events for task in history]
    return (await store.read_session(bench.principal, session.id), history, logs) == (
        session,
        [turn.task for turn in turns],
        [turn.events for turn in turns],
    )


@pytest.mark.parametrize("staged", [False, True])
async def test_a_record_of_the_former_life_erases_nothing_at_any_moment(bench: Bench, staged: bool) -> None:
    session, event = await former_life(bench, staged=staged)
    turns = turns_of(session)
    await bench.store.unstage(session)
    await bench.store.stage_turns(session, [])
    await erased(bench, event)
    for turn in turns:
        await bench.store.stage_turns(session, [turn])
        before = rows_in(bench)
        await erased(bench, event)
        assert rows_in(bench) == before
    await bench.store.create_session(session)
    await erased(bench, event)
    assert await whole(bench, session, turns)


@pytest.mark.parametrize("staged", [False, True])
async def test_a_delete_that_is_on_its_way_meets_nothing_of_the_new_life(
    bench: Bench, staged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows have the same keys."""
    session = replace(new(bench), metadata={"a": 1}, turns=COUNT if staged else 0)
    turns = turns_of(session)
    if staged:
        await bench.store.stage_turns(session, turns)
    await bench.store.create_session(session)
    if not staged:
        for turn in turns:
            await bench.store.submit(turn.task, nonce=nonce())
    session = replace(session, turns=COUNT)
    deleted_by_ttl(bench, session)
    event = picked(stream_of(bench))
    really, met = Table.delete_unchanged, 0

    async def late(table: Table, rows: list[Row]) -> None:
        nonlocal met
        met += 1
        await bench.store.unstage(session)
        await bench.store.stage_turns(session, turns)
        await bench.store.create_session(session)
        await really(table, rows)

    monkeypatch.setattr(Table, "delete_unchanged", late)
    await erased(bench, event)
    assert met == 1
    assert await whole(bench, session, turns)


async def test_what_began_with_staged_turns_is_erased_to_the_last_row_when_it_has_expired(bench: Bench) -> None:
    session = replace(new(bench), metadata={"a": 1}, turns=COUNT)
    turns = turns_of(session)
    large = [turn._replace(task=replace(turn.task, input=bench.task(session, "å" * 400_000).input)) for turn in turns]
    await bench.store.stage_turns(session, large)
    await bench.store.create_session(session, idempotency=Idempotency("key", "fingerprint"))
    await bench.turn(session)
    bench.clock.advance(seconds=TTL / 1000)
    deleted_by_ttl(bench, session)
    await erased(bench, picked(stream_of(bench)))
    assert rows_in(bench) == set()


async def test_what_a_crash_leaves_in_the_middle_of_staging_expires(bench: Bench) -> None:
    session, event = await former_life(bench, staged=True)
    await bench.store.stage_turns(session, turns_of(session))
    await erased(bench, event)
    rows = client_of(bench.store).scan(TableName=bench.store._connection.table)["Items"]  # type: ignore[attr-defined]
    assert len(rows) == 1 + 2 * COUNT, "the marker, the tasks, their logs"
    assert {int(row["ttl"]["N"]) for row in rows} == {session.last_expiry // 1000 + 86_400}
    await bench.store.unstage(session)
    assert rows_in(bench) == set()


async def test_a_session_without_staged_turns_is_created_by_one_write(dynamodb: Bench) -> None:
    with recorded(dynamodb.store) as writes:
        session = await dynamodb.session()
        await dynamodb.store.submit(dynamodb.task(session), nonce=nonce())
    assert [(write.operation, write.sort_key.partition("#")[0]) for write in writes] == [
        ("PutItem", "hot"),
        ("PutItem", "task"),
    ]


async def test_erasing_calls_no_more_than_its_role_may(bench: Bench) -> None:
    """As infra/access.yaml has it for the function behind the table's stream."""
    session = replace(new(bench), metadata={"a": 1}, turns=COUNT)
    await bench.store.stage_turns(session, turns_of(session))
    await bench.store.create_session(session, idempotency=Idempotency("key", "fingerprint"))
    deleted_by_ttl(bench, session)
    event, store, called = picked(stream_of(bench)), bench.another(), set()

    def look(name: str, request: AWSPreparedRequest, send: Send) -> AWSResponse:
        called.add(name)
        return send(request)

    assert isinstance(store, DynamoDBStore)
    with sending(store, look):
        await erase_gone(store, event)
    assert called == {"GetItem", "Query", "DeleteItem"}
    assert rows_in(bench) == set()
