"""The command line. Each command imports what it needs when it runs, so that `hector` starts quickly."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from hector import __version__
from hector.cli import agents, configs, copies, output, stores, tasks
from hector.cli.exits import COMPLETED, EXPLAINED, FAILED, INTERRUPTED, exit_code
from hector.cli.options import AgentId, Config, Continue, Server, run
from hector.errors import ConfigError, HectorError
from hector.model import TurnPolicy

if TYPE_CHECKING:
    from hector.cli.client import Client

app = typer.Typer(
    help="Sessions that remember, answers that stream.",
    epilog=EXPLAINED,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    output.install()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except HectorError as error:
        for line in error.message.split("\n"):
            print(f"hector: {line}", file=sys.stderr)
        if isinstance(error, output.OutputFailed):
            output.silence()
        sys.exit(exit_code(error))
    except BrokenPipeError:  # whoever read the output has left, as `| head` does
        output.silence()
        sys.exit(FAILED)


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
    from hector.config.load import source
    from hector.wiring import load

    serve_http(load(config), host, port, source(config))


@app.command(epilog=EXPLAINED)
def chat(agent: AgentId, session: Continue = None, config: Config = None, server: Server = None) -> None:
    """Talk with an agent; its answers stream. Ctrl-C cancels an answer, /help lists commands, /quit or Ctrl-D ends."""
    import asyncio
    from contextlib import AsyncExitStack

    from hector.cli.chat import converse, open_chat
    from hector.cli.connect import Place, connect

    lasting = None if session is None else "--session"
    with asyncio.Runner() as runner:
        opened = AsyncExitStack()
        try:
            client = runner.run(opened.enter_async_context(connect(Place(config, server), lasting=lasting)))
            code = converse(runner, runner.run(open_chat(client, agent, session)))
        except KeyboardInterrupt:
            code = INTERRUPTED
        finally:
            runner.run(opened.aclose())
    raise typer.Exit(code)


@app.command(epilog=EXPLAINED)
def call(
    agent: AgentId,
    prompt: Annotated[str | None, typer.Argument(help="What to say; standard input if it is - or absent.")] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Print the answer as it is made.")] = False,
    session: Continue = None,
    turn_policy: Annotated[
        TurnPolicy | None, typer.Option(help="If the session is busy; the agent's own setting if absent.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the ended task as one JSON document.")] = False,
    config: Config = None,
    server: Server = None,
) -> None:
    """Say one thing to an agent and print its answer. Ctrl-C cancels it."""
    from hector.cli.call import ask, prompt_text

    if stream and as_json:
        raise ConfigError("--stream and --json exclude each other: the document is there when the task has ended.")
    text = prompt_text(prompt)

    async def work(client: Client) -> str:
        return await ask(client, agent, text, session, turn_policy, stream=stream, as_json=as_json)

    state = run(config, server, work, lasting=None if session is None else "--session")
    raise typer.Exit(COMPLETED if state == "completed" else FAILED)


@app.command()
def emulate(
    template: Annotated[
        str, typer.Option(help="A built template, as `sam build` leaves it.")
    ] = ".aws-sam/build/template.yaml",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on.")] = 8080,
    dynamodb: Annotated[
        str | None,
        typer.Option(help="DynamoDB Local's address; AWS_ENDPOINT_URL_DYNAMODB or http://127.0.0.1:8000 if absent."),
    ] = None,
    parameter: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="A parameter of the stack.")] = None,
    resource: Annotated[list[str] | None, typer.Option(metavar="ID=NAME", help="A resource's physical name.")] = None,
    env: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="A variable of every function.")] = None,
    limit: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Another value for one of AWS's limits.")
    ] = None,
    warm: Annotated[int, typer.Option(min=0, help="Start so many processes of every function first.")] = 0,
    cold: Annotated[bool, typer.Option("--cold", help="Start a new process for every invocation.")] = False,
    speed: Annotated[
        float, typer.Option(min=0.001, help="Schedules and retries run so many times as fast as on AWS.")
    ] = 1.0,
) -> None:
    """Run the built Lambda functions on this machine, under AWS's limits and behind an API that streams."""
    from hector.cli.emulate import Options
    from hector.cli.emulate import emulate as run_emulator

    run_emulator(
        Options(
            template,
            port,
            dynamodb,
            parameters=parameter or [],
            resources=resource or [],
            environment=env or [],
            limits=limit or [],
            warm=warm,
            cold=cold,
            speed=speed,
        )
    )


app.command("list")(agents.list_agents)
app.command("info")(agents.show_agent)
app.add_typer(tasks.app, name="task")
app.add_typer(copies.app, name="session")
app.add_typer(configs.app, name="config")
app.add_typer(stores.app, name="store")
