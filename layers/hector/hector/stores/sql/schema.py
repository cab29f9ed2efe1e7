"""The schema's versions: made by itself in an empty database, brought up to date in an older one, by Alembic.

Under a lock, so that processes that start at once do not collide; in one transaction, so that none is half made.
"""

from __future__ import annotations

import threading
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, inspect, text

from hector.errors import ConfigError, StoreUnavailable
from hector.stores.sql.engines import STATEMENT_SECONDS, WRITES
from hector.stores.sql.urls import shown

HEAD = "0002"
"""The newest version in `migrations/versions`; versions sort by their names."""
VERSION_TABLE = "hector_schema"

_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 0x6865_6374_6F72
"""Any number; the same in every process."""
_one_at_a_time = threading.Lock()  # Alembic's context is one per process


def version_of(connection: Connection) -> str | None:
    """None where there is none of our tables."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()


def bring_up_to_date(engine: Engine, url: URL) -> None:
    """Raises StoreUnavailable for a schema that is newer than this code, ConfigError when Alembic is missing."""
    with engine.connect() as connection:
        if _is_current(connection, url):
            return
    with _one_at_a_time, engine.execution_options(**WRITES).begin() as connection:
        if connection.dialect.name == "postgresql":
            _wait_for_the_others(connection)
        if not _is_current(connection, url):
            upgrade(connection)


def upgrade(connection: Connection, to: str = "head") -> None:
    """In the connection's transaction."""
    try:
        from alembic import command
        from alembic.config import Config
    except ModuleNotFoundError:
        raise ConfigError(
            "The SQL store needs the package alembic to make its tables, which is not installed here: "
            "pip install 'hector-serverless[sql]'"
        ) from None
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, to)


def _is_current(connection: Connection, url: URL) -> bool:
    version = version_of(connection)
    if version is not None and version > HEAD:
        raise StoreUnavailable(
            f"The tables in {shown(url)} have version {version}, and this release knows only those up to {HEAD}: "
            "install the release that made them, or a newer one."
        )
    return version == HEAD


def _wait_for_the_others(connection: Connection) -> None:
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text("SET LOCAL lock_timeout = 0"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    # A change of a table that is in use waits no longer than anybody else.
    connection.execute(text(f"SET LOCAL lock_timeout = '{STATEMENT_SECONDS}s'"))
