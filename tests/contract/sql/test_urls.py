"""Which URLs mean what, what is refused, and that no password is told to anybody."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from hector.config.settings import Settings
from hector.errors import ConfigError, HectorError, StoreUnavailable
from hector.stores.sql import SQLStore
from hector.stores.sql.urls import checked_url, shown
from hector.wiring import build
from tests.postgres_server import PostgresServer
from tests.processes import ENVIRONMENT

SECRET = "s3cret-pa55"


@pytest.mark.parametrize(
    ("url", "driver", "seen"),
    [
        ("sqlite:///hector.db", "sqlite", "hector.db"),
        ("sqlite:///data/hector.db", "sqlite", "data/hector.db"),
        ("sqlite:////var/lib/hector.db", "sqlite", "/var/lib/hector.db"),
        (f"postgresql://me:{SECRET}@db.example.com:6543/app?sslmode=require", "psycopg", "db.example.com:6543/app"),
        (f"postgres://me:{SECRET}@db/app", "psycopg", "db/app"),
        ("postgresql:///app?host=/var/run/postgresql", "psycopg", "/var/run/postgresql/app"),
    ],
)
def test_forms(url: str, driver: str, seen: str) -> None:
    checked = checked_url(url)
    assert (checked.drivername.rpartition("+")[2], shown(checked)) == (driver, seen)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite://", "Name a file"),
        ("sqlite:///", "Name a file"),
        ("sqlite:///:memory:", "memory://"),
        ("sqlite:///file:x?mode=memory&uri=true", "Name a file"),
        ("sqlite://hector.db", "three slashes: sqlite:///hector.db"),
        ("sqlite:///hector.db?mode=ro", "takes no options"),
        (f"postgresql://me:{SECRET}@db", "names no database"),
        (f"postgresql://me:{SECRET}@db:port/app", "not a database URL"),
        (f"postgresql://me:p@{SECRET}@db/app", "written %40"),
        (f"mysql://me:{SECRET}@db/app", "mysql:// is not known here"),
    ],
)
def test_what_is_refused_and_says_what_to_do(url: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        SQLStore(url)
    assert said in refused.value.message
    assert SECRET not in "".join(traceback.format_exception(refused.value))


def test_a_relative_path_is_relative_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = build(Settings.model_validate({
        "llms": {"builtin": {"type": "builtin"}},
        "agents": {"a": {"llm": "builtin"}},
        "session_store": "sqlite:///here.db",
    })).store  # fmt: skip
    assert isinstance(store, SQLStore)

    async def use() -> None:
        await store.set_up()
        await store.aclose()

    asyncio.run(use())
    assert (tmp_path / "here.db").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("password", "password authentication failed"),
        ("database", "does not exist"),
        ("port", "cannot be reached"),
    ],
)
async def test_no_error_and_no_log_holds_a_password(
    change: str, said: str, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr("hector.stores.sql.database.RETRY_SECONDS", 0.2)
    caplog.set_level(logging.DEBUG)
    password = SECRET if change == "password" else "p%C3%A4ssw%2Frd%401"
    port = 1 if change == "port" else postgres_server.port
    database = "nowhere" if change == "database" else "hector"
    store = SQLStore(f"postgresql://hector:{password}@127.0.0.1:{port}/{database}")
    with pytest.raises(StoreUnavailable) as failed:
        await store.set_up()
    assert said in failed.value.message
    assert f"127.0.0.1:{port}/{database}" in failed.value.message
    checks = await store.check()
    assert [check.ok for check in checks] == [False]
    told = "".join(traceback.format_exception(failed.value)) + caplog.text + repr(checks) + repr(vars(store))
    for secret in (SECRET, password, "pässw/rd@1"):
        assert secret not in told
    await store.aclose()


async def test_what_users_wrote_is_in_no_error(postgres_server: PostgresServer) -> None:
    from sqlalchemy import text

    store = SQLStore(postgres_server.url)
    written = 111_111_111 * 7
    with pytest.raises(HectorError) as failed:
        await store._database.write(lambda connection: connection.execute(text("SELECT :x / 0"), {"x": written}))
    await store.aclose()
    assert "DivisionByZero" in failed.value.message
    assert "777777777" not in "".join(traceback.format_exception(failed.value))


def test_settings_show_no_password() -> None:
    settings = Settings.model_validate({
        "llms": {"builtin": {"type": "builtin"}},
        "agents": {"a": {"llm": "builtin"}},
        "session_store": f"postgresql://me:{SECRET}@db/app",
    })  # fmt: skip
    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    ("missing", "url", "extra"),
    [
        ("sqlalchemy", "sqlite:///x.db", "sql"),
        ("psycopg", "postgresql://me:x@127.0.0.1/app", "postgresql"),
        ("alembic", "sqlite:///x.db", "sql"),
    ],
)
def test_a_missing_driver_is_one_sentence_with_the_install_command(
    missing: str, url: str, extra: str, tmp_path: Path
) -> None:
    """As `hector` itself says it, where the package cannot be imported."""
    script = f"import sys; sys.modules[{missing!r}] = None; from hector.cli import main; main()"
    command = [sys.executable, "-c", script, "call", "my_agent", "hello"]
    said = subprocess.run(
        command, cwd=tmp_path, env=ENVIRONMENT | {"HECTOR_STORE": url}, capture_output=True, text=True, check=False
    )
    assert said.returncode != 0
    assert f"pip install 'hector-serverless[{extra}]'" in said.stderr
    assert "Traceback" not in said.stderr
