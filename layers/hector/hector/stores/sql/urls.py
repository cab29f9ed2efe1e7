"""A store's URL, checked: `sqlite:///hector.db`, `postgresql://user:password@host/database`."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from hector.errors import ConfigError


def checked_url(text: str) -> URL:
    """With the driver that is used. Raises ConfigError, without the password."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ConfigError(
            "this is not a database URL, such as sqlite:///hector.db or "
            "postgresql://user:password@host/database. Special characters in a password are written %-encoded."
        ) from None
    match url.get_backend_name():
        case "sqlite":
            return _sqlite(url)
        case "postgresql" | "postgres":
            return _postgresql(url.set(drivername="postgresql+psycopg"))
    raise ConfigError(f"{url.drivername}:// is not known here; use sqlite:/// or postgresql://.")


def shown(url: URL) -> str:
    """For people: without user, password and options."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    port = f":{url.port}" if url.port else ""
    return f"{url.host or url.query.get('host', 'localhost')}{port}/{url.database or ''}"


def file_of(url: URL) -> Path:
    return Path(str(url.database))


def _sqlite(url: URL) -> URL:
    if url.host:
        raise ConfigError(
            f"a SQLite file is named after three slashes: sqlite:///{url.host} for one in the "
            "working directory, sqlite:////var/lib/hector.db for a path from the root."
        )
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise ConfigError(
            "the SQL store is for what lasts. Name a file, such as sqlite:///hector.db; "
            "for sessions in memory use memory://."
        )
    if url.query:
        raise ConfigError("a SQLite URL takes no options here: sqlite:///hector.db.")
    return url


def _postgresql(url: URL) -> URL:
    if "@" in (url.host or ""):
        raise ConfigError("an @ in a password is written %40.")
    if not url.database:
        raise ConfigError("the URL names no database: postgresql://user:password@host/database.")
    return url
