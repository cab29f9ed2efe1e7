"""`hector store …`: set up, checked and copied, on every backend that outlives a process."""

from __future__ import annotations

import asyncio
import json

import pytest

from hector.config import store_at
from hector.stores.base import Store, system_clock
from hector.testing.bench import Bench
from hector.web.context import ANONYMOUS
from hector.wiring import open_store
from tests.backends import OUTLIVING, FreshURL
from tests.cli.driving import XTERM, ended, hector, spawn

# Each as a source and as a target; all of them are copied into each other past the command line.
PAIRS = list(zip(OUTLIVING, (*OUTLIVING[1:], OUTLIVING[0]), strict=True))


def opened(url: str) -> Store:
    return open_store(store_at(url, "the URL"))


async def talk(url: str, sessions: int) -> None:
    """So many sessions of two turns each, at the real time."""

    class Now:
        now = property(lambda _: system_clock(), lambda *_: None)

    async with Bench(lambda _: opened(url), Now(), ANONYMOUS) as bench:  # type: ignore[arg-type]
        for number in range(sessions):
            session = await bench.session(ttl=3_600_000, max_age=7_200_000, metadata={"number": number})
            await bench.turn(session, f"Hello {number}")
            await bench.turn(session)


@pytest.mark.parametrize("backend", OUTLIVING)
def test_a_store_is_set_up_and_checked(backend: str, fresh_store_url: FreshURL) -> None:
    url = fresh_store_url(backend)
    if backend not in ("redis",):  # which has nothing to set up
        before = hector("store", "check", url)
        assert before.returncode == 1, before.stdout + before.stderr
        assert "FAILED" in before.stdout
    for _ in range(2):
        done = hector("store", "init", url)
        assert (done.returncode, done.stdout) == (0, "The store is set up.\n"), done.stderr
    checked = hector("store", "check", HECTOR_STORE=url)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    rows = [line.split("\t") for line in checked.stdout.splitlines()]
    assert rows
    assert {result for _, result, _ in rows} == {"ok"}
    document = json.loads(hector("store", "check", url, "--json").stdout)
    assert [[check["name"], "ok", check["detail"]] for check in document["checks"]] == rows


def test_the_memory_store_has_nothing_to_set_up() -> None:
    assert hector("store", "init").returncode == 0
    checked = hector("store", "check")
    assert (checked.returncode, checked.stdout.split("\t")[:2]) == (0, ["memory", "ok"])


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=map("-to-".join, PAIRS))
def test_a_store_is_copied(source: str, target: str, fresh_store_url: FreshURL) -> None:
    one, other = fresh_store_url(source), fresh_store_url(target)
    asyncio.run(talk(one, 3))
    assert hector("store", "init", other).returncode == 0
    done = hector("store", "copy", one, other)
    assert done.returncode == 0, done.stderr
    expected = ["sessions copied\t3", "tasks in them\t6", "tasks that wait\t0", "sessions there already\t0"]
    assert done.stdout.splitlines() == expected
    again = json.loads(hector("store", "copy", one, other, "--json").stdout)
    assert again == {
        "sessions": 0,
        "tasks": 0,
        "waiting": 0,
        "thereAlready": 3,
        "running": [],
        "diverged": [],
        "broken": [],
    }
    listed = [hector("session", "list", HECTOR_STORE=url) for url in (one, other)]
    assert listed[0].returncode == 0, listed[0].stderr
    assert len(listed[0].stdout.splitlines()) == 3
    assert listed[0].stdout == listed[1].stdout


def test_a_running_turn_is_named(fresh_store_url: FreshURL) -> None:
    one, other = fresh_store_url(OUTLIVING[-1]), fresh_store_url(OUTLIVING[-1])

    async def run() -> str:
        class Now:
            now = property(lambda _: system_clock(), lambda *_: None)

        async with Bench(lambda _: opened(one), Now(), ANONYMOUS) as bench:  # type: ignore[arg-type]
            session = await bench.session(ttl=3_600_000, max_age=7_200_000)
            return (await bench.claimed(session, lease=600_000)).task_id

    task_id = asyncio.run(run())
    hector("store", "init", other)
    done = hector("store", "copy", one, other)
    assert done.returncode == 1
    assert f"left: running tasks\t{task_id}" in done.stdout.splitlines()


@pytest.mark.parametrize("backend", [backend for backend in OUTLIVING if backend != "redis"])
def test_a_source_that_is_not_there_is_refused_and_not_made(backend: str, fresh_store_url: FreshURL) -> None:
    mistyped, target = fresh_store_url(backend), fresh_store_url(OUTLIVING[-2])
    before = hector("store", "check", mistyped)
    refused = hector("store", "copy", mistyped, target)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "FROM: no store is there; is the URL right?" in refused.stderr
    assert "hector store init" in refused.stderr
    assert hector("store", "check", mistyped).stdout == before.stdout, "nothing was made of it"


def test_a_source_in_a_folder_that_is_not_there_is_refused(fresh_store_url: FreshURL) -> None:
    refused = hector("store", "copy", "sqlite:////no/such/folder/hector.db", fresh_store_url("sqlite"))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "FROM: no store is there; is the URL right? There is no folder '/no/such/folder'" in refused.stderr


def test_progress_is_shown_on_a_terminal(fresh_store_url: FreshURL) -> None:
    one, other = fresh_store_url(OUTLIVING[-1]), fresh_store_url(OUTLIVING[-1])
    asyncio.run(talk(one, 10))
    hector("store", "init", other)
    child = spawn("store", "copy", one, other, environment=XTERM)
    child.expect(r"\d sessions copied, with \d+ tasks")
    assert ended(child) == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["copy", "memory://", "dynamodb://table"], "FROM: a memory store is gone with its process"),
        (["copy", "dynamodb://table", "memory://"], "TO: a memory store is gone with its process"),
        (["copy", "dynamodb://table", "dynamodb://table"], "FROM and TO are the same store"),
        (["copy", "table", "dynamodb://table"], "FROM: this is not a store URL"),
        (
            ["copy", "redis://a?b=c", "dynamodb://table"],
            "FROM: this is not a Redis URL that can be used: 'b' is no option",
        ),
        (["check", "redis://host:port"], "STORE: this is not a Redis URL that can be used: the port is not a number"),
        (["check", "dynamo://table"], "STORE: unknown store 'dynamo'; did you mean 'dynamodb'?"),
        (["init", "dynamodb://table", "--config", "x.yaml"], "STORE and --config exclude each other"),
    ],
)
def test_wrong_usage_is_explained(arguments: list[str], says: str) -> None:
    refused = hector("store", *arguments)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert says in refused.stderr


@pytest.mark.parametrize("command", ["init", "check", "copy"])
def test_a_store_that_cannot_be_reached_is_an_error(command: str, fresh_store_url: FreshURL) -> None:
    dead = "dynamodb://table?endpoint_url=http://127.0.0.1:9"
    done = hector("store", command, dead, *([fresh_store_url("dynamodb")] if command == "copy" else []))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "127.0.0.1:9" in done.stdout + done.stderr
