"""The options that commands share, and how a command's work is run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from hector.cli.exits import INTERRUPTED
from hector.errors import ConfigError

if TYPE_CHECKING:
    from hector.cli.client import Client

T = TypeVar("T")
Config = Annotated[str | None, typer.Option("--config", help="The configuration; ./hector.yaml if absent.")]
Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        help="A running server's address, also by HECTOR_SERVER (its token by HECTOR_TOKEN), else in this process.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document, as the HTTP API has it.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many.")]


def not_empty(given: typer.CallbackParam, value: str | None) -> str | None:
    """An id as it was given. Raises ConfigError for an empty one, as a script's unset variable gives it."""
    if value is not None and not value.strip():
        raise ConfigError(f"{given.opts[0] if given.opts[0][0] == '-' else given.metavar} is empty: name one.")
    return value


AgentId = Annotated[str, typer.Argument(metavar="AGENT", callback=not_empty, help="The agent's id, such as my_agent.")]
SessionId = Annotated[str, typer.Argument(metavar="SESSION", callback=not_empty, help="The session's id.")]
TaskId = Annotated[str, typer.Argument(metavar="TASK", callback=not_empty, help="The task's id.")]
Continue = Annotated[
    str | None,
    typer.Option(
        "--session",
        callback=not_empty,
        help="Go on in this session. It must outlive a process: on a server, or a shared store.",
    ),
]


def group(about: str) -> typer.Typer:
    """A command that has commands."""
    return typer.Typer(help=about, no_args_is_help=True)


def run(
    config: str | None,
    server: str | None,
    work: Callable[[Client], Awaitable[T]],
    *,
    lasting: str | None = None,
) -> T:
    """Do the work with a client (see `connect`); Ctrl-C ends the command with its own exit code."""
    import asyncio

    from hector.cli.connect import Place, connect

    async def connected() -> T:
        async with connect(Place(config, server), lasting=lasting) as client:
            return await work(client)

    try:
        return asyncio.run(connected())
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
