"""Help, version, start-up, and the README's list of commands."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from hector.cli.exits import EXPLAINED
from hector.cli.main import app
from tests.cli.driving import hector
from tests.processes import ENVIRONMENT

README = (Path(__file__).parents[2] / "README.md").read_text()


def commands(command: Any, name: str = "hector") -> list[str]:
    """The full names of all commands that do something."""
    inner = getattr(command, "commands", None)
    if inner is None:
        return [name]
    return [found for word, one in inner.items() for found in commands(one, f"{name} {word}")]


ALL = commands(get_command(app))


def test_the_readme_lists_every_command_and_no_other() -> None:
    section = README.split("## The command line\n")[1].split("\n## ")[0]
    listed = re.findall(r"(?m)^\| `(hector(?: [a-z]+)+)", section)
    assert sorted(listed) == sorted(ALL)


@pytest.mark.parametrize("command", ["hector", *ALL])
def test_every_command_has_help(command: str) -> None:
    done = hector(*command.split()[1:], "--help")
    assert done.returncode == 0
    assert command in done.stdout


def test_the_exit_codes_are_documented() -> None:
    for command in ("--help", "call --help", "chat --help"):
        assert EXPLAINED in " ".join(hector(*command.split()).stdout.split())
    section = README.split("## The command line\n")[1].split("\n## ")[0]
    assert re.findall(r"`(\d+)`", section) == re.findall(r"\d+", EXPLAINED)


def test_version_and_wrong_usage() -> None:
    assert hector("--version").stdout.startswith("hector 0.")
    assert hector("nonsense").returncode == 2
    assert hector("call").returncode == 2


def test_the_command_starts_without_what_it_does_not_need() -> None:
    code = "import hector.cli.main, sys, json; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=True)
    heavy = {
        "asyncio",
        "httpx",
        "pydantic",
        "yaml",
        "starlette",
        "fastapi",
        "uvicorn",
        "rich",
        "prompt_toolkit",
        "botocore",
    }
    assert sorted(heavy & set(json.loads(done.stdout))) == []
