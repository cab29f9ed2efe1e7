"""One SQLite file: several processes, those that are killed, and what can be wrong with a file."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from sqlalchemy import Connection, event

from hector.errors import HectorError, StoreUnavailable
from hector.model import Principal
from hector.stores.sql import SQLStore
from hector.testing import Bench, ManualClock
from hector.testing.bench import pieces
from tests.processes import ENVIRONMENT

WORKER = """
import asyncio, secrets, sys
from hector.model import *
from hector.stores.base import Outcome, system_clock
from hector.stores.sql import SQLStore
from hector.errors import SessionBusy

WHO = Principal("everybody")

async def work(url, session_id, turns):
    store = SQLStore(url)
    now = system_clock()
    session = Session(session_id, "a", WHO, now, 3_600_000, now + 3_600_000, now + 3_600_000, now)
    await store.create_session(session)
    print("ready", flush=True)
    for _ in range(turns):
        now = system_clock()
        said = Message.of(Role.USER, "x")
        task = Task(new_task_id(session_id, now), session_id, "a", TaskState.SUBMITTED, said, now, now)
        await store.submit(task, nonce=secrets.token_hex(8))
        print("submitted", task.id, flush=True)
        while True:
            try:
                lease = await store.claim(WHO, session_id, task.id, lease=15_000, nonce=secrets.token_hex(8))
                break
            except SessionBusy:
                await asyncio.sleep(0.002)
        await store.append_events(lease, [Event(1, EventKind.MESSAGE, "y")], extend=15_000)
        ended = await store.commit(lease, Outcome(TaskState.COMPLETED, 1), nonce=secrets.token_hex(8))
        print("committed", ended.id, ended.turn, flush=True)
        await store.release(lease)
    await store.aclose()

asyncio.run(work(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def worker(url: str, turns: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, url, "the-one-session", str(turns)]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hector.db"


def bench_on(file: Path) -> Bench:
    return Bench(lambda clock: SQLStore(f"sqlite:///{file}", clock=clock), ManualClock(), Principal("s", "t"))


async def test_eight_processes_start_on_an_empty_file_and_collide_in_one_session(file: Path) -> None:
    workers = [worker(f"sqlite:///{file}", 12) for _ in range(8)]
    said = await asyncio.gather(*(asyncio.to_thread(process.communicate) for process in workers))
    assert [process.returncode for process in workers] == [0] * 8, "".join(error for _, error in said)
    committed = [line.split() for out, _ in said for line in out.splitlines() if line.startswith("committed")]
    assert sorted(int(turn) for _, _, turn in committed) == list(range(1, 97)), "one open turn at a time"
    store = SQLStore(f"sqlite:///{file}")
    history = await store.read_history(Principal("everybody"), "the-one-session", limit=1000)
    assert [(task.id, task.turn) for task in history] == sorted(
        ((id_, int(turn)) for _, id_, turn in committed), key=lambda pair: pair[1]
    )
    await store.aclose()


async def test_what_was_acknowledged_outlives_a_killed_process(file: Path) -> None:
    process = worker(f"sqlite:///{file}", 100_000)
    assert process.stdout
    acknowledged = []
    for line in process.stdout:
        acknowledged.append(line.split())
        if len(acknowledged) > 100:
            break
    process.send_signal(signal.SIGKILL)
    acknowledged += [line.split() for line in process.stdout if line.endswith("\n")]
    process.communicate()
    with sqlite3.connect(file) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = dict(connection.execute("SELECT id, turn FROM hector_tasks").fetchall())
    connection.close()
    for what, *rest in acknowledged:
        if what == "submitted":
            assert rest[0] in found
        if what == "committed":
            assert found[rest[0]] == int(rest[1])


async def test_connections_are_set_up_to_keep_what_was_acknowledged(file: Path) -> None:
    async with bench_on(file) as bench:
        assert isinstance(bench.store, SQLStore)
        expected = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}

        def look(connection: Connection) -> dict[str, object]:
            return {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in expected}

        assert await bench.store._database.read(look) == expected


async def test_a_file_that_another_process_keeps_locked_is_busy(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hector.stores.sql.engines.BUSY_SECONDS", 0.2)
    async with bench_on(file) as bench:
        session = await bench.session()
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="is busy: another process wrote to it"):
            await bench.submitted(session)
        assert (await bench.store.read_session(bench.principal, session.id)).id == session.id, "readers do not wait"
        other.execute("ROLLBACK")
        other.close()
        assert (await bench.turn(session)).turn == 1


async def test_a_writer_waits_for_another_process(file: Path) -> None:
    async with bench_on(file) as bench:
        session = await bench.session()
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(bench.submitted(session))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        other.execute("COMMIT")
        other.close()
        assert (await waiting).session_id == session.id


async def test_no_folder(tmp_path: Path) -> None:
    store = SQLStore(f"sqlite:///{tmp_path}/missing/hector.db")
    [check] = await store.check()
    assert (check.ok, "no folder" in check.detail) == (False, True)
    with pytest.raises(StoreUnavailable, match=f"there is no folder '{tmp_path}/missing': make it"):
        await store.set_up()
    assert not (tmp_path / "missing").exists()
    await store.aclose()


async def test_not_a_database(file: Path) -> None:
    file.write_text("sessions: none " * 1000)
    store = SQLStore(f"sqlite:///{file}")
    with pytest.raises(StoreUnavailable, match="not a sound SQLite database"):
        await store.set_up()
    assert not all(check.ok for check in await store.check())
    assert file.read_text().startswith("sessions"), "and it is left as it was"
    await store.aclose()


READ_ONLY = """
import asyncio, os, sys
from hector.errors import HectorError
from hector.model import Principal
from hector.stores.sql import SQLStore

async def main():
    store = SQLStore(sys.argv[1])
    if os.geteuid() == 0:  # nothing is read-only to root
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    print([check.name for check in await store.check() if not check.ok])
    try:
        await store.delete_session(Principal("s", "t"), sys.argv[2])
    except HectorError as error:
        print(error.code, error.message)
    await store.aclose()

asyncio.run(main())
"""


@pytest.mark.parametrize("whole_folder", [False, True])
async def test_a_file_that_this_user_cannot_write_to(whole_folder: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "hector.db"
        async with bench_on(file) as bench:
            session = await bench.session()
        file.chmod(0o444)
        Path(folder).chmod(0o555 if whole_folder else 0o777)
        command = [sys.executable, "-c", READ_ONLY, f"sqlite:///{file}", session.id]
        said = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
        Path(folder).chmod(0o755)
    assert said.returncode == 0, said.stderr
    failed, error = said.stdout.splitlines()
    assert failed.startswith("['file'")
    assert error.startswith("store_unavailable The SQLite file")
    assert "let this user write to it and to its folder" in error or "check that its folder can be written to" in error


async def test_a_full_disk_is_told_and_nothing_is_half_written(file: Path) -> None:
    async with bench_on(file) as bench:
        session = await bench.session()
        lease = await bench.claimed(session)
        assert isinstance(bench.store, SQLStore)
        engine = bench.store._database.engine
        full = True

        def limit(connection: sqlite3.Connection, *_: object) -> None:
            # What SQLite meets on a full disk, it meets at the most pages of a file, too.
            connection.execute(f"PRAGMA max_page_count = {1 if full else 1_000_000}")

        event.listen(engine, "checkout", limit)
        with pytest.raises(StoreUnavailable, match="is full: make room"):
            await bench.store.append_events(lease, [*pieces(1, 2), *pieces(3, 9000)], extend=15_000)
        assert await bench.numbers(lease.task_id) == []
        full = False
        await bench.store.append_events(lease, pieces(1, 3), extend=15_000)
        assert await bench.numbers(lease.task_id) == [1, 2, 3]


async def test_readers_and_a_writer_do_not_wait_for_each_other(file: Path) -> None:
    async with bench_on(file) as bench:
        session = await bench.session()
        reader = sqlite3.connect(file, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM hector_sessions").fetchall()
        started = time.monotonic()
        await bench.turn(session)
        assert time.monotonic() - started < 4, "no busy timeout was waited out"
        reader.execute("COMMIT")
        reader.close()


async def test_a_closed_store_says_so(file: Path) -> None:
    async with bench_on(file) as bench:
        session = await bench.session()
    with pytest.raises(HectorError, match="has been closed"):
        await bench.store.read_session(bench.principal, session.id)
