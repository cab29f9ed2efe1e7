"""The tables as they are now; `migrations` says how they came to be so."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, MetaData, Table, Text, TypeDecorator
from sqlalchemy.engine import Dialect

from hector.stores.encoding import dumped, loaded


class JSONText(TypeDecorator[Any]):
    """Anything that JSON can hold, as a text. So can be stored what no SQL text may hold, such as NUL characters."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else dumped(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else loaded(value)


Id = Text().with_variant(Text(collation="C"), "postgresql")
"""Sorts by its bytes, as Python does: PostgreSQL's own order depends on how the database was made."""

metadata = MetaData()


def _session_id(**options: Any) -> Column[str]:
    return Column("session_id", Id, ForeignKey("hector_sessions.id", ondelete="CASCADE"), nullable=False, **options)


sessions = Table(
    "hector_sessions",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("principal", JSONText, nullable=False),
    Column("agent", JSONText, nullable=False),
    Column("staged", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("last_activity_at", BigInteger, nullable=False),
    Column("ttl", BigInteger, nullable=False),
    Column("idle_until", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("last_expiry", BigInteger, nullable=False),
    Column("turns", Integer, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("open_task", Id),
    Column("lease_until", BigInteger, nullable=False),
    Column("lease_nonce", JSONText, nullable=False),
    Column("cancel_requested", Id),
    Column("metadata", JSONText, nullable=False),
    Column("line", JSONText),
)
Index("hector_sessions_activity", sessions.c.owner, sessions.c.last_activity_at, sessions.c.id)
Index("hector_sessions_expiry", sessions.c.expires_at)
unfinished = sessions.c.open_task.is_not(None) | sessions.c.line.is_not(None)
Index("hector_sessions_unfinished", sessions.c.id, sqlite_where=unfinished, postgresql_where=unfinished)

tasks = Table(
    "hector_tasks",
    metadata,
    _session_id(primary_key=True),
    Column("id", Id, primary_key=True),
    Column("agent", JSONText, nullable=False),
    Column("state", Text, nullable=False),
    Column("prompt", JSONText, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("answer", JSONText),
    Column("usage", JSONText),
    Column("error", JSONText),
    Column("stop_reason", Text),
    Column("turn", Integer, nullable=False),
    Column("last_event", BigInteger, nullable=False),
    Column("nonce", JSONText, nullable=False),
)
has_run = tasks.c.turn > 0
Index(
    "hector_tasks_turn", tasks.c.session_id, tasks.c.turn, unique=True, sqlite_where=has_run, postgresql_where=has_run
)

events = Table(
    "hector_events",
    metadata,
    _session_id(primary_key=True),
    Column("task_id", Id, primary_key=True),
    Column("last", BigInteger, primary_key=True, autoincrement=False),
    Column("first", BigInteger, nullable=False),
    Column("entries", JSONText, nullable=False),
)

keys = Table(
    "hector_keys",
    metadata,
    Column("scope", Id, primary_key=True),
    Column("hash", Text, primary_key=True),
    _session_id(index=True),
    Column("task_id", Id),
    Column("fingerprint", JSONText, nullable=False),
)

summaries = Table(
    "hector_summaries",
    metadata,
    _session_id(primary_key=True),
    Column("text", JSONText, nullable=False),
    Column("through", Integer, nullable=False),
)
