"""`hector session …`: the sessions of a server or of a shared store."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hector.cli.options import AgentId, Config, Json, Limit, Server, SessionId, group, not_empty, run
from hector.errors import ConfigError

if TYPE_CHECKING:
    from hector.cli.client import Client

app = group("The sessions of a server, or of a shared store.")
LASTING = "hector session"
_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")


@app.command()
def create(
    agent: AgentId,
    ttl: Annotated[str | None, typer.Option(help="How long it lives after its last use, such as 30m or 24h.")] = None,
    metadata: Annotated[str | None, typer.Option(help="A JSON object to keep with it.")] = None,
    as_json: Json = False,
    config: Config = None,
    server: Server = None,
) -> None:
    """Start a session; prints its id."""
    from hector.cli.tables import print_json

    body: dict[str, Any] = {"agentId": agent, "metadata": _json_object(metadata)}
    if ttl is not None:
        body["ttl"] = _seconds(ttl)

    async def work(client: Client) -> None:
        session = await client.create("sessions", body=body)
        print_json(session) if as_json else print(session["sessionId"])

    run(config, server, work, lasting=LASTING)


@app.command("list")
def list_sessions(
    agent: Annotated[str | None, typer.Option(callback=not_empty, help="Only the sessions with this agent.")] = None,
    limit: Limit = 50,
    as_json: Json = False,
    config: Config = None,
    server: Server = None,
) -> None:
    """List sessions, newest activity first. In a pipe: id, agent, status, turns, last activity, expiry."""
    from hector.cli.columns import Column
    from hector.cli.tables import print_listing

    columns = (
        Column("session"),
        Column("agent", 2),
        Column("status", 4),
        Column("turns", 3),
        Column("last activity", 1, time=True),
        Column("expires", 5, time=True),
    )

    def row(session: dict[str, Any]) -> tuple[object, ...]:
        return tuple(session[key] for key in ("sessionId", "agentId", "status", "turns", "lastActivityAt", "expiresAt"))

    async def work(client: Client) -> None:
        listing = await client.listing("sessions", limit=limit, agentId=agent)
        print_listing(listing, columns, row, as_json)

    run(config, server, work, lasting=LASTING)


@app.command()
def show(session: SessionId, as_json: Json = False, config: Config = None, server: Server = None) -> None:
    """Show a session."""
    from hector.cli.tables import print_json, print_pairs

    async def work(client: Client) -> None:
        found = await client.get("sessions", session)
        if as_json:
            return print_json(found)
        return print_pairs(
            {
                "session": found["sessionId"],
                "agent": found["agentId"],
                "status": found["status"],
                "open task": found.get("openTaskId"),
                "turns": found["turns"],
                "created": found["createdAt"],
                "last activity": found["lastActivityAt"],
                "expires": found["expiresAt"],
                "metadata": json.dumps(found["metadata"], ensure_ascii=False) if found["metadata"] else None,
            }
        )

    run(config, server, work, lasting=LASTING)


@app.command()
def end(session: SessionId, as_json: Json = False, config: Config = None, server: Server = None) -> None:
    """End a session, and erase all that belongs to it."""
    from hector.cli.tables import print_json

    async def work(client: Client) -> None:
        await client.delete("sessions", session)
        if as_json:
            print_json({"sessionId": session, "status": "ended"})

    run(config, server, work, lasting=LASTING)


async def new_session(client: Client, agent_id: str) -> str:
    """Its id. Raises NotFound for the agent."""
    session_id: str = (await client.create("sessions", body={"agentId": agent_id}))["sessionId"]
    return session_id


async def session_with(client: Client, session_id: str, agent_id: str) -> None:
    """Raises NotFound, and ConfigError if the session is with another agent."""
    session = await client.get("sessions", session_id)
    if session["agentId"] != agent_id:
        raise ConfigError(f"--session: session {session_id} is with agent {session['agentId']!r}, not {agent_id!r}.")


def _seconds(ttl: str) -> float | str:
    """A number as the API takes it; all else as it was given, for the API to judge."""
    if not _NUMBER.fullmatch(ttl):
        return ttl
    return float(ttl) if "." in ttl else int(ttl)


def _json_object(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except ValueError as error:
        raise ConfigError(f"--metadata is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ConfigError(f'--metadata must be a JSON object such as {{"team": "sales"}}, not {text}')
    return value
