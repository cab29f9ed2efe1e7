"""`hector call` and `hector chat`, as a person uses them: on a real terminal, in process and with a server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from tests.processes import ENVIRONMENT, HectorServer, hector_server

HECTOR = [sys.executable, "-m", "hector"]


@pytest.fixture(scope="module")
def server() -> Iterator[HectorServer]:
    with hector_server() as running:
        yield running


@pytest.fixture(params=["in process", "with a server"])
def where(request: pytest.FixtureRequest) -> list[str]:
    """The options that say where the agent is."""
    return [] if request.param == "in process" else ["--server", request.getfixturevalue("server").url]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def hector(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*HECTOR, *arguments], input=text, capture_output=True, text=True, timeout=30, env=ENVIRONMENT, check=False
    )


@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_call_prints_the_answer(where: list[str], stream: list[str]) -> None:
    done = hector("call", "my_agent", "My name is Alice", *stream, *where)
    assert done.stdout == "Nice to meet you, Alice. I will remember your name in this session.\n"
    assert (done.returncode, done.stderr) == (0, "")


def test_call_streams_token_by_token(where: list[str]) -> None:
    child = spawn("call", "my_agent", "count to 3 every 400 ms", "--stream", *where)
    child.expect_exact("1 2")
    assert child.isalive(), "the first words are printed while the agent goes on"
    child.expect_exact(" 3")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_a_failed_task_is_exit_code_1_and_says_why(where: list[str]) -> None:
    done = hector("call", "my_agent", "fail please", *where)
    assert done.returncode == 1
    assert "hector: The builtin agent failed, as it was asked to." in done.stderr


def test_an_unknown_agent_is_explained(where: list[str]) -> None:
    done = hector("call", "nobody", "hello", *where)
    assert done.returncode == 1
    assert done.stderr == "hector: There is no agent 'nobody'. This server has: assistant, my_agent, support_agent.\n"


def test_a_server_that_is_not_there_is_explained() -> None:
    done = hector("call", "my_agent", "hello", "--server", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "hector: The server at http://127.0.0.1:9 cannot be reached" in done.stderr


def test_a_wrong_configuration_is_exit_code_2_and_names_the_line() -> None:
    Path("hector.yaml").write_text("llms: {b: {type: builtin}}\nagents:\n  a: {lmm: b}\n")
    done = hector("serve")
    assert done.returncode == 2
    assert "hector: hector.yaml:3: agents.a.lmm: unknown key 'lmm'; did you mean 'llm'?" in done.stderr


def test_a_python_agent_beside_its_configuration() -> None:
    Path("my_module.py").write_text("def answer(turn):\n    yield 'you said '\n    yield turn.text\n")
    Path("hector.yaml").write_text(
        'llms: {mine: {type: python, target: "my_module:answer"}}\nagents: {echo: {llm: mine}}\n'
    )
    assert hector("call", "echo", "hello").stdout == "you said hello\n"


def test_chat_remembers_and_reads_a_pipe(where: list[str]) -> None:
    done = hector("chat", "my_agent", *where, text="My name is Alice\n\nWhat is my name?\n/quit\nnot reached\n")
    assert done.stdout.splitlines()[1] == "Your name is Alice."
    assert "not reached" not in done.stdout
    assert (done.returncode, done.stderr) == (0, "")


def test_chat_on_a_terminal(where: list[str]) -> None:
    child = spawn("chat", "my_agent", *where)
    child.expect_exact("you> ")
    child.sendline("My name is Alice")
    child.expect_exact("Nice to meet you, Alice.")
    child.expect_exact("you> ")
    child.sendline("count to 500 every 100 ms")
    child.expect_exact("1 2 3")
    child.sendintr()
    child.expect_exact("(canceled)")
    child.expect_exact("you> ")
    child.sendline("What is my name?")
    child.expect_exact("Your name is Alice.")
    child.expect_exact("you> ")
    child.sendeof()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_help_and_version() -> None:
    assert hector("--version").stdout.startswith("hector 0.")
    for command in ("serve", "chat", "call"):
        assert command in hector("--help").stdout
        assert hector(command, "--help").returncode == 0


def spawn(*arguments: str) -> pexpect.spawn[str]:
    environment = ENVIRONMENT | {"TERM": "dumb", "COLUMNS": "120", "HOME": os.getcwd()}
    return pexpect.spawn(HECTOR[0], [*HECTOR[1:], *arguments], env=environment, encoding="utf-8", timeout=15)
