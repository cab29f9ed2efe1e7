"""A PostgreSQL of this machine's own, on a free port of 127.0.0.1 for as long as the tests run."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.engines import need

_USERS = ("postgres", "nobody")
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",  # a crash of the server loses nothing by that; one of the machine would
    "max_connections": "200",
    "shared_buffers": "64MB",
}
PASSWORD = "pässw/rd@1"
"""With what has to be escaped in a URL."""


@dataclass
class PostgresServer:
    port: int
    _folder: Path
    _programs: Path
    _as_user: list[str]

    @property
    def url(self) -> str:
        """Of the database `hector`."""
        return self.url_of("hector")

    def url_of(self, database: str, *, port: int | None = None) -> str:
        return f"postgresql://hector:p%C3%A4ssw%2Frd%401@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> None:
        self._control("start", "-w", "-l", str(self._folder / "log"))

    def stop(self, mode: str = "fast") -> None:
        """`immediate` is as a crash is: no goodbye to anybody, and recovery at the next start."""
        self._control("stop", "-w", "-m", mode)

    def create_database(self, name: str) -> str:
        """Its URL."""
        self.sql(f'CREATE DATABASE "{name}" OWNER hector')
        return self.url_of(name)

    def sql(self, statement: str, database: str = "postgres") -> None:
        """As the superuser."""
        import psycopg

        where = f"host=127.0.0.1 port={self.port} user=super password=super dbname={database}"
        with psycopg.connect(where, autocommit=True) as connection:
            connection.execute(statement.encode())

    def _control(self, *arguments: str) -> None:
        _run([*self._as_user, str(self._programs / "pg_ctl"), "-D", str(self._folder / "data"), *arguments])


@contextlib.contextmanager
def running() -> Iterator[PostgresServer]:
    """A server with one user, `hector`, and its database."""
    programs = need(_programs(), "PostgreSQL is not installed: apt-get install postgresql")
    with tempfile.TemporaryDirectory(prefix="hector-postgres-", ignore_cleanup_errors=True) as name:
        folder, as_user = Path(name), _as_user(Path(name))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            server = PostgresServer(probe.getsockname()[1], folder, programs, as_user)
        (folder / "password").write_text("super\n")
        (folder / "password").chmod(0o644)
        _run([
            *as_user, str(programs / "initdb"), "-D", str(folder / "data"), "-U", "super", "-A", "scram-sha-256",
            "--pwfile", str(folder / "password"), "-E", "UTF8", "--locale", "C.UTF-8", "--no-sync",
        ])  # fmt: skip
        with (folder / "data" / "postgresql.conf").open("a") as settings:
            settings.writelines(f"{name} = '{value}'\n" for name, value in {**_SETTINGS, "port": server.port}.items())
        server.start()
        try:
            server.sql(f"CREATE ROLE hector LOGIN PASSWORD '{PASSWORD}'")
            server.create_database("hector")
            yield server
        finally:
            with contextlib.suppress(RuntimeError):
                server.stop("immediate")


def _programs() -> Path | None:
    """The folder of the newest version's programs."""
    found = [Path(path).parent for path in [shutil.which("initdb")] if path]
    found += Path("/usr/lib/postgresql").glob("*/bin")
    found = [path for path in found if (path / "initdb").exists() and (path / "postgres").exists()]
    return max(found, key=_version, default=None)


def _version(programs: Path) -> int:
    output = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\d+", output)
    return int(found[0]) if found else 0


def _as_user(folder: Path) -> list[str]:
    """What to put before a command: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return []
    import pwd

    user = next(user for user in _USERS if any(entry.pw_name == user for entry in pwd.getpwall()))
    shutil.chown(folder, user)
    return ["setpriv", f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--clear-groups"]


def _run(command: list[str]) -> None:
    # Output into a file: a server that keeps a pipe open would never let the reader of it go.
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(command, stdout=output, stderr=output, cwd="/", timeout=60, check=False)
        if done.returncode:
            output.seek(0)
            raise RuntimeError(f"{' '.join(command)} failed: {output.read()}")
