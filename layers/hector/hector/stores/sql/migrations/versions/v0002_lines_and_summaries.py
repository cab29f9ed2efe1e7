"""Lines of waiting tasks, summaries, and an index for the sweep."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("hector_sessions", sa.Column("line", sa.Text))
    unfinished = sa.text("open_task IS NOT NULL OR line IS NOT NULL")
    op.create_index(
        "hector_sessions_unfinished",
        "hector_sessions",
        ["id"],
        sqlite_where=unfinished,
        postgresql_where=unfinished,
    )
    sessions = sa.ForeignKey("hector_sessions.id", ondelete="CASCADE")
    op.create_table(
        "hector_summaries",
        sa.Column("session_id", ID, sessions, primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("through", sa.Integer, nullable=False),
    )
