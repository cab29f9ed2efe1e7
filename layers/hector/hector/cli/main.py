"""The commands. Exit codes: 0 done, 1 the task failed or the server refused, 2 wrong usage or configuration."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated, Any

import typer

from hector import __version__
from hector.errors import ConfigError, HectorError

app = typer.Typer(
    help="Sessions that remember, answers that stream.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
Config = Annotated[str | None, typer.Option("--config", help="The configuration; ./hector.yaml if absent.")]
Server = Annotated[str | None, typer.Option("--server", help="A running server's address; in process if absent.")]
AgentId = Annotated[str, typer.Argument(metavar="AGENT", help="The agent's id, such as my_agent.")]


def main() -> None:
    try:
        app()
    except HectorError as error:
        print(f"hector: {error.message}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ConfigError) else 1)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"hector {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None: ...


@app.command()
def serve(
    config: Config = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on.")] = 8080,
) -> None:
    """Serve every agent over HTTP, with the API's documentation at /docs."""
    from hector.cli.serve import serve_http
    from hector.wiring import load

    serve_http(load(config), host, port)


@app.command()
def chat(agent: AgentId, config: Config = None, server: Server = None) -> None:
    """Talk with an agent; its answers stream. Ctrl-C cancels an answer, Ctrl-D or /quit ends."""
    from hector.cli.talk import converse

    with asyncio.Runner() as runner:
        converse(runner, _conversation(runner, agent, config, server))


@app.command()
def call(
    agent: AgentId,
    prompt: Annotated[str, typer.Argument(help="What to say.")],
    stream: Annotated[bool, typer.Option("--stream", help="Print the answer as it is made.")] = False,
    config: Config = None,
    server: Server = None,
) -> None:
    """Say one thing to an agent and print its answer."""
    from hector.cli.talk import say_once

    with asyncio.Runner() as runner:
        state = say_once(runner, _conversation(runner, agent, config, server), prompt, stream)
    raise typer.Exit(0 if state == "completed" else 1)


def _conversation(runner: asyncio.Runner, agent: str, config: str | None, server: str | None) -> Any:
    from hector.cli.conversation import LocalConversation, ServerConversation

    async def make() -> Any:
        if server is not None:
            return ServerConversation(server, agent)
        from hector.wiring import load

        return LocalConversation(load(config), agent)

    return runner.run(make())
