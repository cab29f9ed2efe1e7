"""`hector config …`: write, check and describe hector.yaml."""

from __future__ import annotations

from typing import Annotated

import typer

from hector.cli.options import group
from hector.errors import ConfigError

app = group("Write, check and describe hector.yaml.")


@app.command()
def init(file: Annotated[str, typer.Argument(metavar="FILE")] = "hector.yaml") -> None:
    """Write a configuration to begin with, which explains itself. Never over one that is there."""
    from hector.config.starter import STARTER

    try:
        with open(file, "x", encoding="utf-8") as new:
            new.write(STARTER)
    except FileExistsError:
        raise ConfigError(f"{file} is there already, and is left as it is. Name another file.") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}") from None
    print(f"Wrote {file}. Check it with `hector config validate`, serve it with `hector serve`.")


@app.command()
def validate(
    file: Annotated[str | None, typer.Argument(metavar="FILE", help="As --config elsewhere if absent.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help='One JSON document: {"valid": …, "problems": […]}.')] = False,
) -> None:
    """Say all that is wrong with a configuration, a line each; exit code 2 if anything is, or if there is none.

    What `hector serve` does before it listens is done: environment variables are filled in, Python agents imported.
    """
    from hector.cli.absent import no_file
    from hector.cli.exits import USAGE
    from hector.cli.output import others, reserve
    from hector.cli.tables import print_json
    from hector.config.load import source
    from hector.wiring import load

    problems: list[str] = []
    try:
        if source(file) is None:
            raise ConfigError(no_file())
        reserve()
        with others():
            load(file)
    except ConfigError as error:
        problems = error.message.split("\n")
    if as_json:
        print_json({"valid": not problems, "problems": problems})
    elif problems:
        raise ConfigError("\n".join(problems))
    else:
        print("The configuration is valid.")
    raise typer.Exit(USAGE if problems else 0)


@app.command()
def schema() -> None:
    """Print the JSON Schema of hector.yaml, for editors."""
    from hector.cli.tables import print_json
    from hector.config.schema import json_schema

    print_json(json_schema())
