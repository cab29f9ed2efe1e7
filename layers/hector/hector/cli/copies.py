"""`hector session messages | fork | export | import`: a session as a whole, or made of another."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hector.cli.options import Config, Json, Limit, Server, SessionId, not_empty, run
from hector.cli.output import writing
from hector.cli.sessions import LASTING, app
from hector.errors import ConfigError

if TYPE_CHECKING:
    from hector.cli.client import Client

__all__ = ["app"]


@app.command()
def messages(
    session: SessionId, limit: Limit = 100, as_json: Json = False, config: Config = None, server: Server = None
) -> None:
    """Read a session as a conversation, oldest first. In a pipe: role, time, text."""
    from hector.cli.columns import Column
    from hector.cli.tables import print_listing

    columns = Column("who"), Column("when", 1, time=True), Column("said", text=True)

    def row(message: dict[str, Any]) -> tuple[object, ...]:
        return (message["role"], message["createdAt"], "\n\n".join(part.get("text", "") for part in message["parts"]))

    async def work(client: Client) -> None:
        listing = await client.listing("sessions", session, "messages", limit=limit)
        print_listing(listing, columns, row, as_json)

    run(config, server, work, lasting=LASTING)


@app.command()
def fork(
    session: SessionId,
    task: Annotated[
        str | None, typer.Option(callback=not_empty, help="The last task to take over; all if absent.")
    ] = None,
    as_json: Json = False,
    config: Config = None,
    server: Server = None,
) -> None:
    """Start a session with the history of another; prints its id."""

    async def work(client: Client) -> None:
        body = {} if task is None else {"taskId": task}
        _print_new(await client.create("sessions", session, "fork", body=body), as_json)

    run(config, server, work, lasting=LASTING)


@app.command()
def export(session: SessionId, config: Config = None, server: Server = None) -> None:
    """Write a session to standard output, as lines of JSON that `hector session import` reads."""

    async def work(client: Client) -> None:
        async for chunk in client.download("sessions", session, "export"):
            with writing():
                sys.stdout.buffer.write(chunk)

    run(config, server, work, lasting=LASTING)


@app.command("import")
def import_session(
    file: Annotated[str, typer.Argument(metavar="FILE", help="What was exported; standard input if it is -.")] = "-",
    agent: Annotated[
        str | None, typer.Option(callback=not_empty, help="The agent to go on with, in place of the file's.")
    ] = None,
    as_json: Json = False,
    config: Config = None,
    server: Server = None,
) -> None:
    """Start a session with the history of an exported one; prints its id."""
    if file == "-" and sys.stdin.isatty():
        raise ConfigError("FILE is missing: name one, or pipe it in.")
    piped = file == "-"
    try:
        source = open(0 if piped else file, "rb", buffering=0, closefd=not piped)  # noqa: SIM115 - closed below
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None

    async def work(client: Client) -> None:
        try:
            session = await client.upload(source, "sessions", "import", agentId=agent)
        except OSError as error:
            raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
        _print_new(session, as_json)

    with source:
        run(config, server, work, lasting=LASTING)


def _print_new(session: dict[str, Any], as_json: bool) -> None:
    from hector.cli.tables import print_json

    print_json(session) if as_json else print(session["sessionId"])
