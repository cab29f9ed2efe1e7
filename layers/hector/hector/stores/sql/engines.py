"""The two engines, and how their connections are set up.

SQLite: write-ahead log, so that readers and the one writer do not wait for each other; `synchronous=FULL`, so that what
was acknowledged outlives a power cut, too. A transaction that writes takes the file's one write lock as it begins.

PostgreSQL: a statement may take 5 s, well below the 15 s of a lease; so may waiting for a row.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event

from hector.concurrency import jitter
from hector.errors import ConfigError
from hector.stores.sql.urls import file_of

CONNECTIONS = 10
"""Of one process to a PostgreSQL, which by default takes 100 in all."""
READERS = 4
"""Threads that read a SQLite file; one more writes."""
BUSY_SECONDS = 5.0
"""How long a process waits for another's write to a SQLite file."""
STATEMENT_SECONDS = 5
CONNECT_SECONDS = 3
WRITES = {"writes": True}
"""The execution option of a connection whose transactions write."""

_SETTINGS = {
    "statement_timeout": f"{STATEMENT_SECONDS}s",
    "lock_timeout": f"{STATEMENT_SECONDS}s",
    "idle_in_transaction_session_timeout": "15s",
}
_KEEPALIVE = {"keepalives": "1", "keepalives_idle": "5", "keepalives_interval": "2", "keepalives_count": "3"}


def engine_of(url: URL) -> Engine:
    """Nothing is connected yet. Raises ConfigError when the driver is missing."""
    if url.get_backend_name() == "sqlite":
        return _sqlite(url)
    try:
        return _postgresql(url)
    except ImportError as error:
        if (error.name or "psycopg").partition(".")[0] != "psycopg":
            raise
        raise ConfigError(
            "PostgreSQL needs the package psycopg, which is not installed here (or lacks its library): "
            "pip install 'hector-serverless[postgresql]'"
        ) from None


def _sqlite(url: URL) -> Engine:
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_size=READERS + 1,
        max_overflow=0,
        connect_args={"timeout": BUSY_SECONDS, "isolation_level": None, "check_same_thread": False},
    )
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    ends_at = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            # The first switch of a file takes a lock for which SQLite itself does not wait.
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > ends_at:
                raise
            time.sleep(jitter(0.005, 0.05))
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgresql(url: URL) -> Engine:
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_timeout=STATEMENT_SECONDS,
        pool_recycle=1800,
        pool_use_lifo=True,
        connect_args={
            "connect_timeout": CONNECT_SECONDS,
            "application_name": "hector",
            # Statements that are prepared bind a client to one connection of a pooler, and are hardly faster.
            "prepare_threshold": None,
            "tcp_user_timeout": "5000",
            **_KEEPALIVE,
        },
    )
    event.listen(engine, "connect", _set_up_postgresql)
    return engine


def _set_up_postgresql(connection: Any, _: Any) -> None:
    connection.autocommit = True
    # Not as start-up options, which poolers such as PgBouncer refuse.
    connection.execute("; ".join(f"SET {name} = '{value}'" for name, value in _SETTINGS.items()))
    connection.autocommit = False


def missing_folder(url: URL) -> str | None:
    """The folder that a SQLite file should be in, if it is not there."""
    folder = file_of(url).parent
    return None if url.get_backend_name() != "sqlite" or folder.is_dir() else str(folder)
