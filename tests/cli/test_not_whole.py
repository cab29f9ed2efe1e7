"""An answer that ends before its end is not shown as a whole one, whoever or whatever cut it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pexpect
import pytest

from tests.cli.driving import XTERM, ended, hector, shown, spawn
from tests.processes import HectorServer, hector_server

CONFIG = """
llms: {cut: {type: python, target: "cut:answer"}, b: {type: builtin}}
agents: {cut: {llm: cut}, my_agent: {llm: b}}
"""
AGENT = """
from hector.agents import Truncated
from hector.model import StopReason
def answer(turn):
    yield "Half a sent"
    yield Truncated(StopReason(turn.text))
"""
SAID = {
    "max_tokens": "The answer is cut off: the model reached max_tokens.",
    "context_window": "The answer is cut off: the model's context is full.",
}
CANCELED = "The answer was canceled before its end."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HectorServer]:
    folder = tmp_path_factory.mktemp("cut")
    (folder / "cut.py").write_text(AGENT)
    with hector_server(CONFIG, folder) as running:
        yield running


@pytest.mark.parametrize("reason", SAID)
def test_an_answer_that_the_model_cut(server: HectorServer, reason: str) -> None:
    at = ["--server", server.url]
    session = hector("session", "create", "cut", *at).stdout.strip()
    done = hector("call", "cut", reason, "--session", session, *at)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Half a sent\n", f"hector: {SAID[reason]}\n")
    task = hector("task", "list", session, *at).stdout.split("\t")[0]
    assert (
        f"\ncut off\t{SAID[reason][len('The answer is cut off: ') : -1]}\n" in hector("task", "get", task, *at).stdout
    )
    for after in ("0", "9"):
        followed = hector("task", "follow", task, "--after", after, *at)
        assert (followed.returncode, followed.stderr.splitlines()[-1:]) == (0, [f"hector: {SAID[reason]}"])
    as_json = hector("call", "cut", reason, "--json", *at)
    assert (as_json.returncode, as_json.stderr) == (0, f"hector: {SAID[reason]}\n")


def test_a_whole_answer_is_not_said_to_be_cut(server: HectorServer) -> None:
    at = ["--server", server.url]
    session = hector("session", "create", "my_agent", *at).stdout.strip()
    assert hector("call", "my_agent", "count to 3", "--session", session, *at).stderr == ""
    task = hector("task", "list", session, *at).stdout.split("\t")[0]
    assert "cut off" not in hector("task", "get", task, *at).stdout


def test_a_chat_says_that_an_answer_is_cut(server: HectorServer) -> None:
    for environment in ({}, XTERM):
        child = spawn("chat", "cut", "--server", server.url, environment=environment)
        child.expect_exact("you>")
        child.sendline("max_tokens")
        child.expect_exact(f"hector: {SAID['max_tokens']}")
        assert "Half a sent" in shown(child.before)
        child.expect_exact("you>")
        child.sendeof()
        assert ended(child) == 0


def cancel(server: HectorServer, session: str) -> None:
    task = httpx.get(f"{server.url}/sessions/{session}").json()["openTaskId"]
    httpx.post(f"{server.url}/tasks/{task}/cancel").raise_for_status()


def test_a_call_says_that_somebody_else_canceled_it(server: HectorServer) -> None:
    at = ["--server", server.url]
    session = hector("session", "create", "my_agent", *at).stdout.strip()
    child = spawn("call", "my_agent", "count to 500 every 50 ms", "--stream", "--session", session, *at)
    child.expect_exact("1 2 3")
    cancel(server, session)
    child.expect_exact(f"hector: {CANCELED}")
    assert ended(child) == 1


def test_a_chat_says_that_somebody_else_canceled_an_answer(server: HectorServer) -> None:
    at = ["--server", server.url]
    session = hector("session", "create", "my_agent", *at).stdout.strip()
    child = spawn("chat", "my_agent", "--session", session, *at)
    child.expect_exact("you>")
    child.sendline("count to 500 every 50 ms")
    child.expect_exact("1 2 3")
    cancel(server, session)
    child.expect_exact(f"hector: {CANCELED}")
    child.expect_exact("you>")
    child.sendeof()
    assert ended(child) == 0


def test_who_cancels_by_ctrl_c_is_told_once(where: list[str]) -> None:
    child = spawn("chat", "my_agent", *where)
    child.expect_exact("you>")
    child.sendline("count to 500 every 50 ms")
    child.expect_exact("1 2 3")
    child.sendintr()
    child.expect_exact("(canceled)")
    child.expect_exact("you>")
    assert "before its end" not in (child.before or "")
    child.sendeof()
    child.expect(pexpect.EOF)
    assert "before its end" not in (child.before or "")


def test_in_process_it_is_said_too() -> None:
    Path("cut.py").write_text(AGENT)
    Path("hector.yaml").write_text(CONFIG)
    done = hector("chat", "cut", text="context_window\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Half a sent\n", f"hector: {SAID['context_window']}\n")
