"""What a turn costs: the same in an old session as in a new one, and no statement that reads a whole table."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from hector.model import Event, Principal, Session, Summary
from hector.stores.sql import SQLStore
from hector.stores.sql.database import Database
from hector.stores.sql.rows import events_of
from hector.testing import Bench
from hector.testing.bench import LEASE, done, nonce, pieces


def database_of(bench: Bench) -> Database:
    assert isinstance(bench.store, SQLStore)
    return bench.store._database


class Statements:
    """What is sent to the engine, with its parameters."""

    def __init__(self, bench: Bench) -> None:
        self.sent: list[tuple[str, Any]] = []
        event.listen(database_of(bench).engine, "before_cursor_execute", self._keep)

    def _keep(self, _: object, __: object, statement: str, parameters: Any, ___: object, many: bool) -> None:
        if statement.split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE"):
            self.sent.append((statement, parameters[0] if many else parameters))

    def take(self) -> list[tuple[str, Any]]:
        taken, self.sent = self.sent, []
        return taken


async def whole_turn(bench: Bench, session: Session) -> None:
    store, who = bench.store, bench.principal
    await store.read_session(who, session.id)
    await store.read_history(who, session.id, limit=20)
    lease = await bench.claim(await bench.submitted(session))
    waits = await bench.submitted(session)
    await store.line_up(who, waits.id, most=3)
    lease = await store.append_events(lease, pieces(1, 3), extend=LEASE)
    await store.check_lease(lease)
    await store.read_events(who, lease.task_id, after=1)
    await store.save_summary(lease, Summary("s", lease.head))
    await store.read_summary(who, session.id)
    await bench.ended(lease, done(3))
    await store.request_cancel(who, waits.id)
    await store.read_task(who, waits.id)


async def test_a_turn_costs_the_same_in_an_old_session(bench: Bench) -> None:
    session = await bench.session()
    statements = Statements(bench)
    counts = []
    for turn in range(60):
        statements.take()
        await whole_turn(bench, session)
        if turn in (9, 59):
            counts.append([statement for statement, _ in statements.take()])
    assert counts[0] == counts[1]
    assert len(counts[0]) < 50


async def test_no_statement_reads_a_whole_table(bench: Bench) -> None:
    statements = Statements(bench)
    session = await bench.session()
    await whole_turn(bench, session)
    store, who = bench.store, bench.principal
    await store.list_sessions(who, cursor=f"{bench.clock.now:015d}.x")
    await store.list_tasks(who, session.id, oldest_first=True)
    await store.list_unfinished()
    await store.read_owner(session.id)
    await store.clean_up()
    await store.delete_session(who, session.id)
    sent = statements.take()
    event.remove(database_of(bench).engine, "before_cursor_execute", statements._keep)
    sqlite = database_of(bench).on_sqlite

    def plans(connection: Connection) -> list[str]:
        found = []
        if not sqlite:
            connection.execute(text("SET enable_seqscan = off"))  # small tables are scanned, whatever there is
        for statement, parameters in sent:
            explain = "EXPLAIN QUERY PLAN " if sqlite else "EXPLAIN "
            rows = connection.exec_driver_sql(explain + statement, parameters).all()
            found.append(statement + "\n" + "\n".join(str(row[-1]) for row in rows))
        return found

    for plan in await database_of(bench).read(plans):
        scan = "SCAN hector_" in plan and "USING INDEX hector_sessions_unfinished" not in plan
        assert not scan, plan
        assert "Seq Scan" not in plan, plan


async def test_the_log_is_read_from_the_cursor_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = await bench.claimed(await bench.session())
    for number in range(1, 200):
        lease = await bench.store.append_events(lease, pieces(number, number), extend=LEASE)
    counted: list[object] = []

    def count(row: object) -> list[Event]:
        counted.append(row)
        return events_of(row)

    monkeypatch.setattr("hector.stores.sql.tasks.events_of", count)
    assert await bench.numbers(lease.task_id, after=196) == [197, 198, 199]
    assert len(counted) == 3


async def test_two_principals_with_the_longest_names(bench: Bench) -> None:
    """An index entry of PostgreSQL holds 2,700 bytes; names may be longer."""
    sessions = {}
    for subject in ("ä" * 9000, "ä" * 9001):
        bench.principal = Principal(subject, "\0")
        sessions[subject] = await bench.session()
        assert (await bench.store.list_sessions(bench.principal)).items == [sessions[subject]]
        await bench.store.submit(bench.task(sessions[subject]), nonce=nonce())
