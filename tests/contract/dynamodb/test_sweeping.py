"""Sweeps scan an index that lags behind, in pages of its own; they look at no more than they have to."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from hector.config.settings import DEFAULTS, Settings
from hector.errors import InvalidRequest
from hector.stores.dynamodb.rows import Row, typed
from hector.stores.dynamodb.sweeping import RECENT
from hector.testing.bench import LEASE, Bench
from hector.testing.contract.sweeping import unfinished
from hector.wiring import build
from tests.contract.dynamodb.wire import Send, answered, batch_reads, sending

LONG = 10 * RECENT


async def test_only_sessions_with_recent_activity_are_looked_at(dynamodb: Bench) -> None:
    old, new = [await dynamodb.session(ttl=LONG, max_age=LONG) for _ in range(2)]
    await dynamodb.claimed(old)
    dynamodb.clock.advance(seconds=(RECENT - 2 * LEASE) / 1000)
    await dynamodb.claimed(new)
    dynamodb.clock.advance(seconds=LEASE / 1000)
    assert set(await unfinished(dynamodb, old, new)) == {old.id, new.id}
    dynamodb.clock.advance(seconds=LEASE / 1000)
    with batch_reads(dynamodb.store) as read:
        assert set(await unfinished(dynamodb, old, new)) == {new.id}
    assert (new.id, "hot") in read
    assert (old.id, "hot") not in read


async def test_turns_that_may_take_longer_by_their_settings_are_looked_at_for_longer(
    dynamodb: Bench, dynamodb_local: str
) -> None:
    session = await dynamodb.session(ttl=LONG, max_age=LONG)
    lease = await dynamodb.claimed(session)
    dynamodb.clock.advance(seconds=2 * RECENT / 1000 - 1)
    settings = Settings.model_validate(
        {
            "llms": DEFAULTS["llms"],
            "agents": {"quick": {"llm": "builtin"}, "slow": {"llm": "builtin", "turns": {"timeout": "1h"}}},
            "session_store": f"dynamodb://contract?endpoint_url={dynamodb_local}",
        }
    )
    dynamodb.store = build(settings, clock=dynamodb.clock).store
    found = await unfinished(dynamodb, session)
    assert found[session.id].lost_task_id == lease.task_id
    dynamodb.clock.advance(seconds=2)
    with batch_reads(dynamodb.store) as read:
        assert await unfinished(dynamodb, session) == {}
    assert (session.id, "hot") not in read
    await dynamodb.store.aclose()


async def test_more_than_are_read_at_once_are_found_in_pages_of_any_size(dynamodb: Bench) -> None:
    sessions = [await dynamodb.session() for _ in range(105)]
    for session in sessions:
        await dynamodb.claimed(session)
    dynamodb.clock.advance(seconds=LEASE / 1000)
    for limit in (1000, 100, 7):
        assert len(await unfinished(dynamodb, *sessions, limit=limit)) == 105


@pytest.mark.parametrize("cursor", ["", "x", "000000000000001.id", " [] ", "1 2", "9" * 5000])
async def test_a_cursor_that_is_not_ours_is_refused(dynamodb: Bench, cursor: str) -> None:
    for listing in (dynamodb.store.list_every_session, dynamodb.store.list_unfinished):
        with pytest.raises(InvalidRequest):
            await listing(cursor=cursor)


def lagging(row: Row, *, after: int) -> Any:
    """The index as it is for a moment: a session that has just begun a turn is still at its old place as well."""

    def answer(name: str, request: AWSPreparedRequest, send: Send) -> AWSResponse:
        assert isinstance(request.body, bytes)
        if "IndexName" not in json.loads(request.body):
            return send(request)
        entries = [
            {"pk": row["pk"], "sk": "hot", "owner_key": row["owner_key"], "activity": f"{at:015d}.{row['pk']}"}
            for at in (after, after - 1000)
        ]
        return answered(request, 200, "", body={"Items": [typed(entry) for entry in entries], "Count": 2})

    return answer


async def test_a_session_that_is_in_the_index_twice_is_listed_once(dynamodb: Bench) -> None:
    session = await dynamodb.session()
    lease = await dynamodb.claimed(session)
    row = {"pk": session.id, "owner_key": json.dumps(["tenant", dynamodb.principal.subject], separators=(",", ":"))}
    with sending(dynamodb.store, lagging(row, after=dynamodb.clock.now)):
        shown = await dynamodb.store.read_session(dynamodb.principal, session.id)
        page = await dynamodb.store.list_sessions(dynamodb.principal)
        assert (page.items, page.next_cursor) == ([shown], None)
        assert (await dynamodb.store.list_every_session()).items == [shown]
        dynamodb.clock.advance(seconds=LEASE / 1000)
        [found] = (await dynamodb.store.list_unfinished()).items
    assert (found.session.id, found.lost_task_id) == (session.id, lease.task_id)


async def test_cleaning_up_is_the_tables_own_business(dynamodb: Bench) -> None:
    with sending(dynamodb.store, lambda name, *_: pytest.fail(f"{name} was called")):
        assert await dynamodb.store.clean_up() == 0
