"""`hector list` and `hector info`: which agents there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hector.cli.options import AgentId, Config, Json, Server, run

if TYPE_CHECKING:
    from hector.cli.client import Client


def list_agents(as_json: Json = False, config: Config = None, server: Server = None) -> None:
    """List the agents. In a pipe: id, name, streaming or not, description."""
    from hector.cli.columns import Column
    from hector.cli.tables import print_json, print_table

    columns = Column("agent"), Column("name", 2), Column("streams", 3), Column("description", 1, text=True)

    async def work(client: Client) -> None:
        listing = await client.page("agents")
        if as_json:
            return print_json(listing)
        rows = [
            (agent["agentId"], agent["name"], _streaming(agent), agent["description"]) for agent in listing["items"]
        ]
        return print_table(columns, rows)

    run(config, server, work)


def show_agent(agent: AgentId, as_json: Json = False, config: Config = None, server: Server = None) -> None:
    """Show one agent."""
    from hector.cli.tables import print_json, print_pairs

    async def work(client: Client) -> None:
        found = await client.get("agents", agent)
        if as_json:
            return print_json(found)
        return print_pairs(
            {
                "agent": found["agentId"],
                "name": found["name"],
                "description": found["description"],
                "streams": _streaming(found),
                "where": client.place,
            }
        )

    run(config, server, work)


def _streaming(agent: dict[str, dict[str, bool]]) -> str:
    return "yes" if agent["capabilities"]["streaming"] else "no"
