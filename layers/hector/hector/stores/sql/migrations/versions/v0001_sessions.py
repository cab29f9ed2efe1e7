"""Sessions, tasks, events and keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "hector_sessions",
        sa.Column("id", ID, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("agent", sa.Text, nullable=False),
        sa.Column("staged", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("last_activity_at", sa.BigInteger, nullable=False),
        sa.Column("ttl", sa.BigInteger, nullable=False),
        sa.Column("idle_until", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("last_expiry", sa.BigInteger, nullable=False),
        sa.Column("turns", sa.Integer, nullable=False),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("open_task", ID),
        sa.Column("lease_until", sa.BigInteger, nullable=False),
        sa.Column("lease_nonce", sa.Text, nullable=False),
        sa.Column("cancel_requested", ID),
        sa.Column("metadata", sa.Text, nullable=False),
    )
    op.create_index("hector_sessions_activity", "hector_sessions", ["owner", "last_activity_at", "id"])
    op.create_index("hector_sessions_expiry", "hector_sessions", ["expires_at"])
    op.create_table(
        "hector_tasks",
        _session_id(),
        sa.Column("id", ID, primary_key=True),
        sa.Column("agent", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("prompt", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("answer", sa.Text),
        sa.Column("usage", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("stop_reason", sa.Text),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.Column("last_event", sa.BigInteger, nullable=False),
        sa.Column("nonce", sa.Text, nullable=False),
    )
    has_run = sa.text("turn > 0")
    op.create_index(
        "hector_tasks_turn",
        "hector_tasks",
        ["session_id", "turn"],
        unique=True,
        sqlite_where=has_run,
        postgresql_where=has_run,
    )
    op.create_table(
        "hector_events",
        _session_id(),
        sa.Column("task_id", ID, primary_key=True),
        sa.Column("last", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("first", sa.BigInteger, nullable=False),
        sa.Column("entries", sa.Text, nullable=False),
    )
    op.create_table(
        "hector_keys",
        sa.Column("scope", ID, primary_key=True),
        sa.Column("hash", sa.Text, primary_key=True),
        _session_id(primary_key=False),
        sa.Column("task_id", ID),
        sa.Column("fingerprint", sa.Text, nullable=False),
    )
    op.create_index("ix_hector_keys_session_id", "hector_keys", ["session_id"])


def _session_id(*, primary_key: bool = True) -> sa.Column[str]:
    sessions = sa.ForeignKey("hector_sessions.id", ondelete="CASCADE")
    return sa.Column("session_id", ID, sessions, primary_key=primary_key, nullable=False)
