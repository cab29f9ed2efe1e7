"""What `check` looks at: that the engine is there, what it is, its schema, and that it can be written to."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from sqlalchemy import Connection, text

from hector.errors import StoreUnavailable
from hector.stores.base import Check
from hector.stores.sql.database import Database
from hector.stores.sql.engines import missing_folder
from hector.stores.sql.schema import HEAD, version_of
from hector.stores.sql.tables import metadata
from hector.stores.sql.urls import file_of, shown

_OLDEST_SQLITE = (3, 24)
_OLDEST_POSTGRESQL = 120_000
_RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")


async def checks(database: Database) -> list[Check]:
    if database.on_sqlite:
        path = file_of(database.url)
        found = [_file(path, missing_folder(database.url))]
        if not path.exists():
            return found
    else:
        found = []
    try:
        return found + await database.look(_of_sqlite if database.on_sqlite else _of_postgresql)
    except StoreUnavailable as error:
        return [*found, Check("connection", False, error.message)]


def _file(path: Path, missing: str | None) -> Check:
    if missing:
        return Check(
            "file", False, f"There is no folder {missing!r}: make it, or correct session_store.url.", missing=True
        )
    if not path.exists():
        return Check("file", False, f"There is no file {str(path)!r} yet: `hector store init` makes it.", missing=True)
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        return Check("file", False, f"{str(path)!r} cannot be written to: let this user write to it and its folder.")
    return Check("file", True, f"{path}, {path.stat().st_size:,} bytes")


def _of_sqlite(connection: Connection) -> list[Check]:
    version = f"SQLite {sqlite3.sqlite_version}"
    mode = connection.execute(text("PRAGMA journal_mode")).scalar()
    return [
        Check("version", sqlite3.sqlite_version_info >= _OLDEST_SQLITE, f"{version}; 3.24 or newer is needed"),
        Check("journal mode", mode == "wal", f"{mode}; it has to be wal, which a network file system does not offer"),
        _schema(connection),
    ]


def _of_postgresql(connection: Connection) -> list[Check]:
    number = int(connection.execute(text("SHOW server_version_num")).scalar_one())
    version = connection.execute(text("SHOW server_version")).scalar()
    standby = connection.execute(text("SELECT pg_is_in_recovery()")).scalar()
    found = [
        Check("connection", True, f"{shown(connection.engine.url)} answers"),
        Check("version", number >= _OLDEST_POSTGRESQL, f"PostgreSQL {version}; 12 or newer is needed"),
        Check("primary", not standby, "a standby takes no writes: name the primary" if standby else "takes writes"),
        _schema(connection),
    ]
    return [*found, _rights(connection)] if found[-1].ok else found


def _schema(connection: Connection) -> Check:
    version = version_of(connection)
    if version is None:
        return Check("schema", False, "There are no tables yet: `hector store init` makes them.", missing=True)
    if version < HEAD:
        return Check(
            "schema", False, f"Version {version} is older than {HEAD}: `hector store init` brings it up to date."
        )
    if version > HEAD:
        return Check("schema", False, f"Version {version} is newer than {HEAD}, the newest that this release knows.")
    return Check("schema", True, f"version {version}")


def _rights(connection: Connection) -> Check:
    has = text("SELECT has_table_privilege(:table, :right)")
    missing = [
        f"{right} on {table}"
        for table in metadata.tables
        for right in _RIGHTS
        if not connection.execute(has, {"table": table, "right": right}).scalar()
    ]
    return Check("permissions", not missing, f"GRANT {', '.join(missing)}" if missing else "reads and writes")
