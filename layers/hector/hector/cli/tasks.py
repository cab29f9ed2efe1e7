"""`hector task …`: the tasks of a session, also while they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hector.cli.exits import COMPLETED, FAILED
from hector.cli.options import Config, Json, Limit, Server, SessionId, TaskId, group, run

if TYPE_CHECKING:
    from hector.cli.client import Client

app = group("The tasks of a session: each is one message and its answer.")
LASTING = "hector task"


@app.command()
def get(task: TaskId, as_json: Json = False, config: Config = None, server: Server = None) -> None:
    """Show a task with its answer."""
    from hector.cli.answer import why_cut
    from hector.cli.tables import print_answer, print_json, print_pairs

    async def work(client: Client) -> None:
        found = await client.get("tasks", task)
        if as_json:
            return print_json(found)
        print_pairs(
            {
                "task": found["taskId"],
                "session": found["sessionId"],
                "agent": found["agentId"],
                "state": found["status"]["state"],
                "error": found["status"].get("error", {}).get("message"),
                "cut off": why_cut(found.get("stopReason")),
                "created": found["createdAt"],
                "tokens": _tokens(found),
                "prompt": found["input"]["content"],
            }
        )
        if found["output"]:
            print()
            print_answer(found["output"]["content"])
        return None

    run(config, server, work, lasting=LASTING)


@app.command("list")
def list_tasks(
    session: SessionId, limit: Limit = 50, as_json: Json = False, config: Config = None, server: Server = None
) -> None:
    """List a session's tasks, newest first. In a pipe: id, state, creation, tokens in/out, prompt."""
    from hector.cli.columns import Column
    from hector.cli.tables import print_listing

    columns = (
        Column("task"),
        Column("state", 1),
        Column("created", 3, time=True),
        Column("tokens", 4),
        Column("prompt", 2, text=True, one_line=True),
    )

    def row(task: dict[str, Any]) -> tuple[object, ...]:
        state, prompt = task["status"]["state"], task["input"]["content"]
        return (task["taskId"], state, task["createdAt"], _tokens(task), prompt)

    async def work(client: Client) -> None:
        listing = await client.listing("tasks", limit=limit, sessionId=session)
        print_listing(listing, columns, row, as_json)

    run(config, server, work, lasting=LASTING)


@app.command()
def cancel(task: TaskId, as_json: Json = False, config: Config = None, server: Server = None) -> None:
    """Cancel a running task; prints its state, which takes a second to become canceled."""
    from hector.cli.tables import print_json

    async def work(client: Client) -> None:
        found = await client.post("tasks", task, "cancel")
        print_json(found) if as_json else print(found["status"]["state"])

    run(config, server, work, lasting=LASTING)


@app.command()
def follow(
    task: TaskId,
    after: Annotated[int, typer.Option(min=0, max=999_999_999, help="Only what came after this event.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document for each event, a line each.")] = False,
    config: Config = None,
    server: Server = None,
) -> None:
    """Read along with a task from its beginning to its end. Ctrl-C leaves it running."""
    import json

    from hector.cli.answer import show
    from hector.cli.screens import screen
    from hector.cli.stream import StreamEvent, TaskStream

    async def events(client: Client) -> str:
        state = None
        async for event in TaskStream.following(client, task, after).events():
            if isinstance(event, StreamEvent):
                print(json.dumps({"id": event.number, **event.data}), flush=True)
                state = event.status.get("state", state)
        return state or str((await client.get("tasks", task))["status"]["state"])

    async def work(client: Client) -> str:
        if as_json:
            return await events(client)
        return await show(client, TaskStream.following(client, task, after), screen(), owned=False)

    state = run(config, server, work, lasting=LASTING)
    raise typer.Exit(COMPLETED if state == "completed" else FAILED)


def _tokens(task: dict[str, Any]) -> str:
    from hector.cli.tables import tokens

    used = tokens(task)
    return f"{used[0]}/{used[1]}" if used else ""
