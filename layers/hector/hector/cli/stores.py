"""`hector store init | check | copy`: what is to be done with a session store as a whole, past every server."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from hector.cli.exits import COMPLETED, EXPLAINED, FAILED, INTERRUPTED
from hector.cli.options import Config, group
from hector.errors import ConfigError

if TYPE_CHECKING:
    from hector.config.settings import StoreSettings
    from hector.store_copy import Copied
    from hector.stores.base import Store

T = TypeVar("T")
app = group("Set up, check and copy session stores.")
StoreURL = Annotated[
    str | None,
    typer.Argument(metavar="STORE", help="A store's URL, such as dynamodb://sessions; the configured one if absent."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]


@app.command(epilog=EXPLAINED)
def init(store: StoreURL = None, config: Config = None) -> None:
    """Make what the store needs, such as a table, or bring it up to date. Repeatable; no session is touched."""
    opened = _chosen(store, config)
    _run(opened.set_up, opened)
    print("The store is set up.")


@app.command(epilog=EXPLAINED)
def check(store: StoreURL = None, as_json: AsJson = False, config: Config = None) -> None:
    """Look whether the store has all that it needs, and change nothing; exit code 1 if it has not."""
    from hector.cli.columns import Column
    from hector.cli.tables import print_json, print_table

    columns = Column("what"), Column("result"), Column("detail", text=True)
    opened = _chosen(store, config)
    checks = _run(opened.check, opened)
    if as_json:
        print_json({"checks": [{"name": found.name, "ok": found.ok, "detail": found.detail} for found in checks]})
    else:
        rows = [(found.name, "ok" if found.ok else "FAILED", found.detail) for found in checks]
        print_table(columns, rows)
    raise typer.Exit(COMPLETED if all(found.ok for found in checks) else FAILED)


@app.command(epilog=EXPLAINED)
def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="The URL of the store to read.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="The URL of the one to write; see `hector store init`.")],
    as_json: AsJson = False,
) -> None:
    """Copy every live session of everybody: same ids, times, tasks and logs. Stop the servers first.

    A session is there whole or not at all; what was broken off is completed by the same command. Idempotency keys stay
    behind, and so do turns that are running: they are named, and the exit code is 1. A session is read again when it
    has arrived; one that is not whole then is taken back, and named.
    """
    from hector.cli.tables import print_json, print_pairs

    if source == target:
        raise ConfigError("FROM and TO are the same store.")
    stores = [_outliving(url, name) for url, name in ((source, "FROM"), (target, "TO"))]
    copied = _run(lambda: _copy(*stores), *stores)
    if as_json:
        print_json(_document(copied))
    else:
        print_pairs(
            {
                "sessions copied": copied.sessions,
                "tasks in them": copied.tasks,
                "tasks that wait": copied.waiting,
                "sessions there already": copied.there_already,
                "left: running tasks": " ".join(copied.running),
                "left: sessions that went another way": " ".join(copied.diverged),
                "left: sessions that are not whole": " ".join(copied.broken),
            }
        )
    raise typer.Exit(COMPLETED if copied.whole else FAILED)


def _chosen(url: str | None, config: str | None) -> Store:
    from hector.cli.absent import warn_of_misnamed
    from hector.config import load, store_at
    from hector.wiring import configured_store

    if url is not None and config is not None:
        raise ConfigError("STORE and --config exclude each other: name one of them.")
    if url is not None:
        return _opened(store_at(url, "STORE"), "STORE")
    warn_of_misnamed(config)
    return configured_store(load(config))


def _outliving(url: str, name: str) -> Store:
    from hector.config import store_at

    settings = store_at(url, name)
    if settings.backend == "memory":
        raise ConfigError(f"{name}: a memory store is gone with its process: there is nothing to copy.")
    return _opened(settings, name)


def _opened(settings: StoreSettings, name: str) -> Store:
    """Raises ConfigError, which calls the store's URL as it is named."""
    from hector.wiring import open_store

    try:
        return open_store(settings)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error.message}") from error


async def _copy(source: Store, target: Store) -> Copied:
    import sys

    from hector.store_copy import StoreCopy

    # Many an engine makes at its first use what is not there: a mistyped source would be an empty one.
    for found in await source.check():
        if found.missing:
            raise ConfigError(f"FROM: no store is there; is the URL right? {found.detail}")
    if not sys.stderr.isatty():
        return await StoreCopy(source, target).run()
    from rich.console import Console

    with Console(stderr=True).status("Copying …") as status:

        def told(copied: Copied) -> None:
            there = f", {copied.there_already:,} there already" if copied.there_already else ""
            status.update(f"{copied.sessions:,} sessions copied, with {copied.tasks:,} tasks{there} …")

        return await StoreCopy(source, target, told=told).run()


def _document(copied: Copied) -> dict[str, Any]:
    return {
        "sessions": copied.sessions,
        "tasks": copied.tasks,
        "waiting": copied.waiting,
        "thereAlready": copied.there_already,
        "running": copied.running,
        "diverged": copied.diverged,
        "broken": copied.broken,
    }


def _run(work: Callable[[], Coroutine[Any, Any, T]], *stores: Store) -> T:
    """Do the work and close the stores; Ctrl-C ends the command with its own exit code."""
    import asyncio

    async def closing() -> T:
        try:
            return await work()
        finally:
            for store in stores:
                await store.aclose()

    try:
        return asyncio.run(closing())
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
