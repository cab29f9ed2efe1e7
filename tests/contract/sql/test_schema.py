"""The schema: made by itself, by one of many; brought up to date with what is in it; a newer one is refused."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from dataclasses import replace

import pytest
from sqlalchemy import Connection, text

from hector.errors import StoreUnavailable
from hector.model import Message, Principal, Role, Summary, TaskState, Usage
from hector.stores.base import Idempotency
from hector.stores.sql import SQLStore
from hector.stores.sql.database import Database
from hector.stores.sql.rows import digest, owner_key
from hector.stores.sql.schema import HEAD, upgrade, version_of
from hector.stores.sql.tables import metadata
from hector.testing import Bench, ManualClock
from hector.testing.bench import LEASE, TTL, nonce, pieces
from tests.postgres_server import PostgresServer
from tests.processes import ENVIRONMENT

ALICE = Principal("alice", "tenant")
SESSION = "11111111-1111-4111-8111-111111111111"
FIRST, SECOND = f"{SESSION}-0000000000100000001", f"{SESSION}-0000000000200000002"


def written_by_the_first_release(now: int) -> list[tuple[str, dict[str, object]]]:
    """Rows as version 0001 holds them: a session with one ended turn, one open turn with a log, and keys."""
    session = {
        "id": SESSION, "owner": owner_key(ALICE), "principal": '["tenant","alice"]', "agent": '"agent-ä"',
        "staged": False, "created_at": now, "last_activity_at": now, "ttl": TTL, "idle_until": now + TTL,
        "expires_at": now + TTL, "last_expiry": now + 10 * TTL, "turns": 1, "fence": 7, "open_task": SECOND,
        "lease_until": now + LEASE, "lease_nonce": '"n"', "cancel_requested": SECOND, "metadata": '{"a":"\\u0000"}',
    }  # fmt: skip
    ended = {
        "session_id": SESSION, "id": FIRST, "agent": '"agent-ä"', "state": "completed", "created_at": now,
        "prompt": '["user","hello"]', "updated_at": now, "answer": '["agent","piece 1 "]', "usage": "[1,2]",
        "turn": 1, "last_event": 1, "nonce": '"n"',
    }  # fmt: skip
    running = {
        "session_id": SESSION, "id": SECOND, "agent": '"agent-ä"', "state": "submitted", "created_at": now,
        "prompt": '["user","go on"]', "updated_at": now, "turn": 0, "last_event": 0, "nonce": '"n"',
    }  # fmt: skip
    log = {"session_id": SESSION, "task_id": SECOND, "first": 1, "last": 2, "entries": '["piece 1 ","piece 2 "]'}
    key: dict[str, object] = {"session_id": SESSION, "hash": digest("key"), "fingerprint": '"f"'}
    return [
        ("hector_sessions", session),
        ("hector_tasks", ended),
        ("hector_tasks", running),
        ("hector_events", log),
        ("hector_keys", key | {"scope": owner_key(ALICE)}),
        ("hector_keys", key | {"scope": SESSION, "task_id": FIRST}),
    ]


async def at_the_first_version(url: str, now: int) -> None:
    database = Database(url)

    def fill(connection: Connection) -> None:
        upgrade(connection, "0001")
        for table, row in written_by_the_first_release(now):
            names, values = ", ".join(f'"{name}"' for name in row), ", ".join(f":{name}" for name in row)
            connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({values})"), row)

    with database.engine.execution_options(writes=True).begin() as connection:
        fill(connection)
        assert version_of(connection) == "0001"
    await database.aclose()


async def test_an_older_schema_is_brought_up_to_date_with_all_that_is_in_it(empty_url: str) -> None:
    clock = ManualClock()
    await at_the_first_version(empty_url, clock.now)
    async with Bench(lambda clock: SQLStore(empty_url, clock=clock), clock, ALICE) as bench:
        store = bench.store
        session = await store.read_session(ALICE, SESSION)
        assert (session.agent_id, session.turns, session.open_task_id) == ("agent-ä", 1, SECOND)
        assert (session.metadata, session.waiting) == ({"a": "\0"}, ())
        assert (await store.list_sessions(ALICE)).items == [session]
        [turn] = await store.read_history(ALICE, SESSION, limit=5)
        assert (turn.id, turn.input, turn.output) == (
            FIRST, Message.of(Role.USER, "hello"), Message.of(Role.AGENT, "piece 1 ")
        )  # fmt: skip
        assert (turn.usage, turn.state) == (Usage(1, 2), TaskState.COMPLETED)
        assert (await store.read_events(ALICE, SECOND, after=0)).events == pieces(1, 2)
        assert await store.read_summary(ALICE, SESSION) is None
        again = await store.create_session(replace(session, id="other"), idempotency=Idempotency("key", "f"))
        assert again.id == SESSION
        submitted = await store.submit(bench.task(session), nonce=nonce(), idempotency=Idempotency("key", "f"))
        assert (submitted.task.id, submitted.created) == (FIRST, False)
        # And it goes on, with what the new version brings.
        lease = await store.claim(ALICE, SESSION, SECOND, lease=LEASE, nonce="n")
        assert (lease.fence, lease.cancel_requested) == (7, True)
        waits = await bench.submitted(session)
        assert (await store.line_up(ALICE, waits.id, most=1)).waiting == (waits.id,)
        await store.save_summary(lease, Summary("so far", 1))
        assert (await bench.ended(lease)).turn == 2
        assert await store.read_summary(ALICE, SESSION) == Summary("so far", 1)
        assert (await bench.ended(await bench.claim(waits))).turn == 3
        assert all(check.ok for check in await store.check())


async def test_check_sees_the_versions_and_changes_nothing(empty_url: str) -> None:
    store = SQLStore(empty_url)
    for _ in range(2):
        [failed] = [check.detail for check in await store.check() if not check.ok]
        assert re.search("no (file|tables).* yet: `hector store init` makes", failed)
    await at_the_first_version(empty_url, 1)
    for _ in range(2):
        assert [check.detail for check in await store.check() if not check.ok] == [
            f"Version 0001 is older than {HEAD}: `hector store init` brings it up to date."
        ]
    await store.set_up()
    assert all(check.ok for check in await store.check())
    await store.aclose()


async def test_a_newer_schema_is_refused(empty_url: str) -> None:
    store = SQLStore(empty_url)
    await store.set_up()
    await store._database.write(
        lambda connection: connection.execute(text("UPDATE hector_schema SET version_num = '9000'"))
    )
    await store.aclose()
    store = SQLStore(empty_url)
    for call in (store.set_up(), store.read_session(ALICE, SESSION)):
        with pytest.raises(StoreUnavailable, match=r"have version 9000, and this release knows only those up to"):
            await call
    assert [check.detail for check in await store.check() if not check.ok] == [
        f"Version 9000 is newer than {HEAD}, the newest that this release knows."
    ]
    await store.aclose()


async def test_the_migrations_make_just_the_tables_that_the_code_knows(bench: Bench) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    from hector.stores.sql import schema

    assert ScriptDirectory(str(schema._MIGRATIONS)).get_current_head() == HEAD

    def compare(connection: Connection) -> list[object]:
        context = MigrationContext.configure(
            connection, opts={"version_table": "hector_schema", "compare_type": True, "compare_server_default": True}
        )
        return list(compare_metadata(context, metadata))

    assert isinstance(bench.store, SQLStore)
    assert await bench.store._database.read(compare) == []


STARTING = """
import asyncio, sys
from hector.stores.sql import SQLStore
async def main():
    stores = [SQLStore(sys.argv[1]) for _ in range(2)]
    await asyncio.gather(*(store.set_up() for store in stores))
    assert all(check.ok for check in await stores[0].check())
    for store in stores:
        await store.aclose()
asyncio.run(main())
"""


async def test_eight_processes_that_start_at_once_do_not_collide(postgres_server: PostgresServer) -> None:
    """Those on a SQLite file: see `test_sqlite`."""
    empty_url = postgres_server.create_database(f"test-{nonce()}")

    async def start() -> tuple[int | None, bytes]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", STARTING, empty_url, env=ENVIRONMENT, stderr=asyncio.subprocess.PIPE
        )
        _, said = await process.communicate()
        return process.returncode, said

    assert await asyncio.gather(*(start() for _ in range(8))) == [(0, b"")] * 8


async def test_a_user_that_may_not_make_tables_is_told_what_to_do(postgres_server: PostgresServer) -> None:
    url = postgres_server.create_database(name := f"test-{nonce()}")
    postgres_server.sql("REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO PUBLIC", name)
    postgres_server.sql(f'ALTER DATABASE "{name}" OWNER TO super')
    store = SQLStore(url)
    with pytest.raises(StoreUnavailable, match=r"let its owner run `hector store init`, and GRANT SELECT"):
        await store.set_up()
    await store.aclose()
    # Its owner makes them; without a right on one of them, check names it.
    owner = SQLStore(url.replace("hector:p%C3%A4ssw%2Frd%401@", "super:super@"))
    await owner.set_up()
    await owner.aclose()
    postgres_server.sql("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO hector", name)
    postgres_server.sql("REVOKE DELETE ON hector_events FROM hector", name)
    store = SQLStore(url)
    await store.set_up()
    assert [check.detail for check in await store.check() if not check.ok] == ["GRANT DELETE on hector_events"]
    postgres_server.sql("GRANT DELETE ON hector_events TO hector", name)
    assert all(check.ok for check in await store.check())
    await store.aclose()


def test_rows_of_the_first_release_are_json() -> None:
    for _, row in written_by_the_first_release(0):
        for name in ("principal", "agent", "metadata", "prompt", "entries", "fingerprint"):
            if name in row:
                json.loads(str(row[name]))
