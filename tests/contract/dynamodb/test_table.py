"""What is in the table, how long it stays there, and what the engine leaves for later."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from hector.errors import StoreUnavailable
from hector.model import Session, Summary
from hector.stores.base import Idempotency
from hector.stores.dynamodb.rows import Row, plain
from hector.testing.bench import DONE, LEASE, TTL, Bench, nonce, pieces
from hector.testing.contract.session_keys import new
from tests.contract.dynamodb.wire import Send, answered, batch_reads, client_of, sending

DAY = 86_400


def rows_of(bench: Bench, session: Session) -> dict[str, Row]:
    pages = (
        client_of(bench.store)
        .get_paginator("query")
        .paginate(
            TableName="contract",
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": session.id}},
            ConsistentRead=True,
        )
    )
    return {row["sk"]: row for page in pages for row in map(plain, page["Items"])}


async def busy_session(bench: Bench) -> Session:
    session = await bench.session(metadata={"a": 1})
    task = bench.task(session, "q" * 400_000)
    await bench.store.submit(task, nonce=nonce(), idempotency=Idempotency("key", "fingerprint"))
    lease = await bench.claim(task)
    await bench.store.append_events(lease, pieces(1, 3), extend=LEASE)
    await bench.store.save_summary(lease, Summary("text", 1))
    await bench.ended(lease)
    return session


async def test_rows_of_a_session(dynamodb: Bench) -> None:
    rows = rows_of(dynamodb, await busy_session(dynamodb))
    assert sorted(sk.partition("#")[0] for sk in rows) == [
        "hot", "key", "log", "meta", "part", "part", "summary", "task",
    ]  # fmt: skip


async def test_all_but_the_hot_record_stay_until_a_day_after_the_last_expiry(dynamodb: Bench) -> None:
    session = await busy_session(dynamodb)
    for sk, row in rows_of(dynamodb, session).items():
        if sk != "hot":
            assert row["ttl"] == session.last_expiry // 1000 + DAY


async def test_the_hot_record_stays_a_moment_longer_than_the_session(dynamodb: Bench) -> None:
    session = await dynamodb.session(ttl=1_000)

    async def check() -> None:
        shown = await dynamodb.store.read_session(dynamodb.principal, session.id)
        left = rows_of(dynamodb, session)["hot"]["ttl"] * 1000 - shown.expires_at
        assert 0 < left < 2 * TTL

    await check()
    lease = await dynamodb.claimed(session)
    await check()
    for _ in range(4):
        dynamodb.clock.advance(seconds=10)
        await dynamodb.store.append_events(lease, [], extend=LEASE)
        await check()
    waiting = await dynamodb.submitted(session)
    await dynamodb.store.line_up(dynamodb.principal, waiting.id, most=1)
    await check()
    await dynamodb.ended(lease)
    await check()
    dynamodb.clock.advance(seconds=0.5)
    await dynamodb.store.leave_line(dynamodb.principal, waiting.id, DONE, nonce=nonce())
    await check()
    await dynamodb.store.line_up(dynamodb.principal, (await dynamodb.submitted(session)).id, most=1)
    await check()


async def test_the_table_expires_rows_by_their_ttl(dynamodb: Bench) -> None:
    described = client_of(dynamodb.store).describe_time_to_live(TableName="contract")["TimeToLiveDescription"]
    assert (described["AttributeName"], described["TimeToLiveStatus"]) == ("ttl", "ENABLED")


async def test_a_deleted_session_leaves_nothing(dynamodb: Bench) -> None:
    session = await busy_session(dynamodb)
    await dynamodb.store.delete_session(dynamodb.principal, session.id)
    assert rows_of(dynamodb, session) == {}


async def test_a_deleted_session_leaves_no_key(dynamodb: Bench) -> None:
    session = await dynamodb.store.create_session(new(dynamodb), idempotency=Idempotency("key", "fingerprint"))
    pointer = replace(session, id=rows_of(dynamodb, session)["hot"]["key"])
    assert list(rows_of(dynamodb, pointer)) == ["session"]
    await dynamodb.store.delete_session(dynamodb.principal, session.id)
    assert rows_of(dynamodb, pointer) == rows_of(dynamodb, session) == {}


async def test_a_late_batch_of_a_lost_worker_is_written_over(dynamodb: Bench) -> None:
    """It was on its way when the turn was taken over, and arrives before the new worker writes."""
    session = await dynamodb.session()
    task = await dynamodb.submitted(session)
    old = await dynamodb.claim(task)
    dynamodb.clock.now = old.until
    new = await dynamodb.claim(task)
    key = f"log#{task.id[-19:]}#0000001"
    late: Row = {"pk": session.id, "sk": key, "events": '["late","late"]', "fence": old.fence, "ttl": 1}
    table: Any = dynamodb.store
    await table._table.put(late, condition="attribute_not_exists(pk)")
    await dynamodb.store.append_events(new, pieces(1, 1), extend=LEASE)
    page = await dynamodb.store.read_events(dynamodb.principal, task.id, after=0)
    assert page.events == pieces(1, 1)


async def test_metadata_that_came_after_the_session_was_last_seen_is_read(dynamodb: Bench) -> None:
    session = await dynamodb.session()
    client = client_of(dynamodb.store)
    client.put_item(
        TableName="contract", Item={"pk": {"S": session.id}, "sk": {"S": "meta"}, "metadata": {"S": '{"a":1}'}}
    )
    client.update_item(
        TableName="contract",
        Key={"pk": {"S": session.id}, "sk": {"S": "hot"}},
        UpdateExpression="SET meta = :true",
        ExpressionAttributeValues={":true": {"BOOL": True}},
    )
    assert (await dynamodb.store.read_session(dynamodb.principal, session.id)).metadata == {"a": 1}


@contextmanager
def leaving_unprocessed(bench: Bench, operation: str, member: str, *, times: int | None = None) -> Iterator[None]:
    """The engine takes the request, and leaves all of it for later, so many times (or for ever)."""
    left = times

    def leave(name: str, request: AWSPreparedRequest, send: Send) -> AWSResponse:
        nonlocal left
        if name != operation or left == 0:
            return send(request)
        left = None if left is None else left - 1
        assert isinstance(request.body, bytes)
        wanted = json.loads(request.body)["RequestItems"]
        return answered(request, 200, "", body={"Responses": {}, member: wanted})

    with sending(bench.store, leave):
        yield
    assert not left


async def test_all_reads_but_the_index_are_consistent(dynamodb: Bench) -> None:
    session, reads = await busy_session(dynamodb), []

    def look(name: str, request: AWSPreparedRequest, send: Send) -> AWSResponse:
        assert isinstance(request.body, bytes)
        body = json.loads(request.body)
        match name:
            case "BatchGetItem":
                reads.append(body["RequestItems"]["contract"]["ConsistentRead"])
            case "GetItem" | "Query":
                reads.append("IndexName" in body or body["ConsistentRead"])
        return send(request)

    store, who = dynamodb.store, dynamodb.principal
    with sending(store, look):
        await dynamodb.another().read_session(who, session.id)
        await store.read_session(who, session.id)
        await store.list_sessions(who)
        [task] = (await store.list_tasks(who, session.id)).items
        await store.read_task(who, task.id)
        await store.read_events(who, task.id, after=0)
        await store.read_history(who, session.id, limit=5)
        lease = await dynamodb.claimed(session)
        await store.check_lease(lease)
        await store.save_summary(lease, Summary("text", 2))
        await store.read_summary(who, session.id)
        await store.read_owner(session.id)
        await store.list_unfinished()
        waiting = await dynamodb.submitted(session)
        await store.line_up(who, waiting.id, most=1)
        await store.leave_line(who, waiting.id, DONE, nonce=nonce())
        await store.delete_session(who, session.id)
    assert len(reads) > 20
    assert all(reads)


async def test_unprocessed_reads_are_asked_for_again(dynamodb: Bench) -> None:
    session = await dynamodb.session(metadata={"a": 1})
    with leaving_unprocessed(dynamodb, "BatchGetItem", "UnprocessedKeys", times=3):
        assert (await dynamodb.store.list_sessions(dynamodb.principal)).items == [session]


async def test_unprocessed_deletes_are_asked_for_again(dynamodb: Bench) -> None:
    session = await busy_session(dynamodb)
    with leaving_unprocessed(dynamodb, "BatchWriteItem", "UnprocessedItems", times=3):
        await dynamodb.store.delete_session(dynamodb.principal, session.id)
    assert rows_of(dynamodb, session) == {}


async def test_what_stays_unprocessed_is_given_up(dynamodb: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hector.stores.dynamodb.patience.PATIENCE_SECONDS", 0.2)
    session = await busy_session(dynamodb)
    for operation, member, verb in (
        ("BatchGetItem", "UnprocessedKeys", dynamodb.store.list_sessions(dynamodb.principal)),
        ("BatchWriteItem", "UnprocessedItems", dynamodb.store.delete_session(dynamodb.principal, session.id)),
    ):
        with pytest.raises(StoreUnavailable, match="busy"), leaving_unprocessed(dynamodb, operation, member):
            await verb
    await dynamodb.store.unstage(session)
    assert rows_of(dynamodb, session) == {}, "erasing is repeatable"


async def test_more_sessions_than_one_batch_takes_are_listed(dynamodb: Bench) -> None:
    for _ in range(105):
        await dynamodb.session()
    page = await dynamodb.store.list_sessions(dynamodb.principal, limit=102)
    rest = await dynamodb.store.list_sessions(dynamodb.principal, limit=102, cursor=page.next_cursor)
    assert len({session.id for session in page.items + rest.items}) == 105


async def test_a_listing_looks_at_no_more_than_so_many_and_says_where_it_goes_on(
    dynamodb: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hector.stores.dynamodb.sessions._LOOKED_AT", 6)
    monkeypatch.setattr("hector.stores.dynamodb.sessions._AT_ONCE", 4)
    wanted = [await dynamodb.session(agent_id="rare") for _ in range(2)]
    for _ in range(20):
        dynamodb.clock.advance(seconds=1)
        await dynamodb.session(agent_id="frequent")
    found, cursor, pages = [], None, 0
    while True:
        with batch_reads(dynamodb.store) as read:
            page = await dynamodb.store.list_sessions(dynamodb.principal, agent_id="rare", cursor=cursor, limit=2)
        assert len(read) <= 8, "two pages of the index"
        found += page.items
        pages += 1
        if (cursor := page.next_cursor) is None:
            break
    assert {session.id for session in found} == {session.id for session in wanted}
    assert pages == 4
