"""Tables on terminals of every width: an id can be copied, and what matters less makes room."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pexpect
import pytest

from hector.cli.columns import Column, fitted, short_time
from tests.cli.driving import XTERM, hector, shown, spawn
from tests.processes import HectorServer, hector_server

PROMPT = "count to 3, and mind that this is a prompt which is longer than a line of any usual terminal can be at all"


@pytest.fixture(scope="module")
def server() -> Iterator[HectorServer]:
    with hector_server() as running:
        session = httpx.post(f"{running.url}/sessions", json={"agentId": "support_agent"}).json()["sessionId"]
        httpx.post(f"{running.url}/sessions/{session}/tasks", json={"input": {"content": PROMPT}})
        yield running


def on_terminal(server: HectorServer, columns: int, *arguments: str) -> list[str]:
    """Its lines, as they were sent."""
    environment = {**XTERM, "TZ": "UTC"}
    child = spawn(*arguments, "--server", server.url, columns=columns, environment=environment)
    child.expect(pexpect.EOF)
    return [line.strip() for line in shown(child.before).splitlines() if line.strip()]


def ids(server: HectorServer) -> tuple[str, str]:
    session = hector("session", "list", "--server", server.url).stdout.split("\t")[0]
    return session, hector("task", "list", session, "--server", server.url).stdout.split("\t")[0]


@pytest.mark.parametrize("columns", [30, 80, 100, 160])
def test_the_id_of_a_session_is_whole(server: HectorServer, columns: int) -> None:
    session, _ = ids(server)
    *_, row = on_terminal(server, columns, "session", "list")
    assert re.split(" {2,}", row)[0] == session
    cells = {30: 1, 80: 5, 100: 6, 160: 6}[columns]
    assert len(re.split(" {2,}", row)) == cells
    assert len(row) <= max(columns, len(session))
    if columns == 80:
        assert re.fullmatch(rf"{session}  support_agent  active  1 +\d\d:\d\d", row)


@pytest.mark.parametrize("columns", [30, 80, 100, 160])
def test_the_id_of_a_task_is_whole(server: HectorServer, columns: int) -> None:
    session, task = ids(server)
    *_, row = on_terminal(server, columns, "task", "list", session)
    cells = re.split(" {2,}", row)
    assert cells[0] == task
    assert len(row) <= max(columns, len(task))
    assert [len(cells), "completed" in cells, cells[-1].startswith("count to")] == {
        30: [1, False, False], 80: [3, True, True], 100: [5, True, True], 160: [5, True, True],
    }[columns]  # fmt: skip


def test_what_was_said_is_never_cut(server: HectorServer) -> None:
    session, _ = ids(server)
    lines = on_terminal(server, 40, "session", "messages", session)
    assert PROMPT.replace(" ", "") in "".join(lines[2:]).replace(" ", "")


def test_a_pipe_gets_every_column_and_times_in_full(server: HectorServer) -> None:
    session, _ = ids(server)
    cells = hector("session", "list", "--server", server.url, COLUMNS="30").stdout.rstrip("\n").split("\t")
    assert len(cells) == 6
    assert all(time.endswith("Z") for time in cells[4:])
    listed = hector("task", "list", session, "--server", server.url, COLUMNS="30").stdout.rstrip("\n").split("\t")
    assert (len(listed), listed[-1]) == (5, PROMPT)


def test_the_column_of_the_highest_rank_goes_first() -> None:
    columns = Column("id"), Column("last time", 2), Column("agent", 1), Column("text", text=True)
    cells = [["1234567890", "12:00", "support", "word " * 10]]
    widths = {place: fitted(columns, cells, place) for place in (100, 50, 40, 35, 34, 28, 5)}
    assert widths[100] == {0: 10, 1: 5, 2: 7, 3: 50}, "nothing is wider than it needs to be"
    assert widths[50] == {0: 10, 1: 5, 2: 7, 3: 22}
    assert widths[40] == {0: 10, 1: 5, 2: 7, 3: 12}
    assert widths[35] == {0: 10, 2: 7, 3: 14}
    assert widths[28] == {0: 10, 3: 16}
    assert widths[5] == {0: 10, 3: 8}, "what has no rank stays"


def test_a_time_is_short_today_and_has_its_date_else() -> None:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()
    try:
        assert short_time("2026-03-31T20:05:06.789Z") == "2026-04-01 05:05"
        now = datetime.now(UTC)
        assert short_time(now.isoformat()) == (now + timedelta(hours=9)).strftime("%H:%M")
        assert short_time("") == ""
    finally:
        os.environ.pop("TZ")
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()
