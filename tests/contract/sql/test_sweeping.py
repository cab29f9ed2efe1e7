"""clean_up: rows of expired sessions and of imports that came to nothing are erased, in bounded work."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Connection, func, select

from hector.errors import NotFound
from hector.stores.base import Idempotency
from hector.stores.sql import SQLStore, sweeping
from hector.stores.sql.sessions import STAGED
from hector.stores.sql.tables import metadata
from hector.testing import Bench
from hector.testing.bench import TTL, done, nonce, pieces
from hector.testing.contract.session_keys import new
from hector.testing.contract.staging import ended


async def rows(bench: Bench) -> dict[str, int]:
    """How many there are in each table that has any."""

    def count(connection: Connection) -> dict[str, int]:
        counts = {
            name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in metadata.tables.items()
        }
        return {name: number for name, number in counts.items() if number}

    assert isinstance(bench.store, SQLStore)
    return await bench.store._database.read(count)


async def test_all_that_belonged_to_an_expired_session_goes(bench: Bench) -> None:
    expired = new(bench)
    await bench.store.create_session(expired, idempotency=Idempotency("key", "f"))
    await bench.store.submit(bench.task(expired), nonce=nonce(), idempotency=Idempotency("key", "f"))
    lease = await bench.claimed(expired)
    await bench.store.append_events(lease, pieces(1, 600), extend=15_000)
    await bench.ended(lease, done(600))
    bench.clock.advance(seconds=TTL / 1000 + sweeping.GRACE / 1000 - 1)
    alive = await bench.session()
    assert await bench.store.clean_up() == 0, "another machine's clock may be behind"
    bench.clock.advance(seconds=2)
    assert await bench.store.clean_up() == 1
    assert await rows(bench) == {"hector_sessions": 1}
    assert await bench.store.read_session(bench.principal, alive.id) == alive
    assert await bench.store.clean_up() == 0


async def test_work_is_bounded_and_what_is_left_is_for_the_next_call(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "BATCH", 3)
    monkeypatch.setattr(sweeping, "BATCHES", 2)
    for _ in range(8):
        await bench.session()
    bench.clock.advance(seconds=(TTL + sweeping.GRACE) / 1000)
    assert [await bench.store.clean_up() for _ in range(3)] == [6, 2, 0]
    assert await rows(bench) == {}


async def test_staged_turns_that_no_session_was_made_of_go_after_a_day(bench: Bench) -> None:
    session = replace(new(bench), turns=2)
    await bench.store.stage_turns(session, [ended(session, 1)])
    bench.clock.now += STAGED - 1
    await bench.store.stage_turns(session, [ended(session, 2)])
    bench.clock.now += STAGED + sweeping.GRACE - 1
    assert await bench.store.clean_up() == 0, "they were added to a day ago"
    bench.clock.now += 1
    assert await bench.store.clean_up() == 1
    assert await rows(bench) == {}


async def test_staged_turns_are_nobodys(bench: Bench) -> None:
    session = replace(new(bench), turns=1)
    turn = ended(session, 1)
    await bench.store.stage_turns(session, [turn])
    assert (await bench.store.list_every_session()).items == []
    assert (await bench.store.list_unfinished()).items == []
    with pytest.raises(NotFound):
        await bench.store.read_owner(session.id)
    with pytest.raises(NotFound):
        await bench.store.submit(bench.task(session), nonce=nonce())
    await bench.store.unstage(session)
    assert await rows(bench) == {}


async def test_a_deleted_session_leaves_nothing(bench: Bench) -> None:
    session = await bench.session(metadata={"a": 1})
    lease = await bench.claimed(session)
    await bench.store.append_events(lease, pieces(1, 3), extend=15_000)
    await bench.store.delete_session(bench.principal, session.id)
    assert await rows(bench) == {}
