"""Alembic runs this for each upgrade: see `hector.stores.sql.schema`."""

from __future__ import annotations

from alembic import context

from hector.stores.sql.schema import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
context.run_migrations()
