"""`hector list | info | session … | task …`: on a terminal, in a pipe, and as JSON."""

from __future__ import annotations

import json
import time
from pathlib import Path

import httpx
import pexpect
import pytest

from tests.cli.driving import XTERM, ended, hector, shown, spawn
from tests.processes import HectorServer


def at(server: HectorServer, *arguments: str) -> str:
    """The output of a command that succeeds."""
    done = hector(*arguments, "--server", server.url)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_agents(where: list[str]) -> None:
    listed = hector("list", *where).stdout
    assert listed.splitlines()[2] == "my_agent\tMy agent\tyes\tAn agent to try things out with"
    assert [agent["agentId"] for agent in json.loads(hector("list", "--json", *where).stdout)["items"]] == [
        line.split("\t")[0] for line in listed.splitlines()
    ]
    assert "name\tMy agent\n" in hector("info", "my_agent", *where).stdout
    assert json.loads(hector("info", "my_agent", "--json", *where).stdout)["capabilities"] == {"streaming": True}
    assert hector("info", "nobody", *where).returncode == 1


def test_a_terminal_gets_a_table() -> None:
    child = spawn("list", environment=XTERM, columns=60)
    child.expect(pexpect.EOF)
    text = shown(child.before)
    assert "agent" in text.splitlines()[1]
    assert "───" in text
    assert "An agent to try" in text


def test_a_session_from_its_start_to_its_end(server: HectorServer) -> None:
    options = ("--ttl", "30m", "--metadata", '{"team": "sales\\tnorth"}')
    session = at(server, "session", "create", "my_agent", *options).strip()
    shown_session = json.loads(at(server, "session", "show", session, "--json"))
    assert (shown_session["ttl"], shown_session["metadata"]) == (1800, {"team": "sales\tnorth"})
    assert f"session\t{session}\nagent\tmy_agent\nstatus\tactive\nturns\t0\n" in at(server, "session", "show", session)
    assert at(server, "session", "list", "--agent", "my_agent").splitlines()[0].startswith(f"{session}\tmy_agent\tact")
    assert at(server, "session", "end", session) == ""
    gone = hector("session", "show", session, "--server", server.url)
    assert (gone.returncode, gone.stdout) == (1, "")
    for given, seconds in (("60", 60), ("0.5", 0.5), ("1.5h", 5400)):
        assert json.loads(at(server, "session", "create", "my_agent", "--ttl", given, "--json"))["ttl"] == seconds


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--metadata", "{"], 2, "hector: --metadata is not JSON: "),
        (["--metadata", "[]"], 2, "hector: --metadata must be a JSON object"),
        (["--ttl", "soon"], 1, "hector: ttl is wrong: 'soon' is not a duration"),
    ],
)
def test_a_wrong_session_is_refused(server: HectorServer, options: list[str], code: int, said: str) -> None:
    done = hector("session", "create", "my_agent", *options, "--server", server.url)
    assert (done.returncode, done.stderr[: len(said)]) == (code, said)


def test_listings_go_over_pages_and_say_when_there_is_more(server: HectorServer) -> None:
    for _ in range(103):
        httpx.post(f"{server.url}/sessions", json={"agentId": "assistant"}).raise_for_status()
    every = ("session", "list", "--agent", "assistant")
    assert len(set(at(server, *every, "--limit", "1000").splitlines())) == 103
    some = hector(*every, "--limit", "101", "--server", server.url)
    assert len(some.stdout.splitlines()) == 101
    assert some.stderr == "There are more; --limit says how many are shown.\n"
    assert json.loads(at(server, *every, "--limit", "3", "--json"))["nextCursor"]


def test_the_tasks_of_a_session(server: HectorServer) -> None:
    session = at(server, "session", "create", "my_agent").strip()
    task = json.loads(at(server, "call", "my_agent", "count to 3\nplease", "--session", session, "--json"))["taskId"]
    assert at(server, "task", "list", session).split("\t")[::4] == [task, "count to 3 please\n"]
    assert json.loads(at(server, "task", "list", session, "--json"))["items"][0]["taskId"] == task
    got = at(server, "task", "get", task)
    assert "state\tcompleted\n" in got
    assert got.endswith("\n\n1 2 3\n")
    assert json.loads(at(server, "task", "get", task, "--json"))["output"]["content"] == "1 2 3"
    assert at(server, "task", "follow", task) == "1 2 3\n"
    assert at(server, "task", "follow", task, "--after", "2") == " 3\n"
    assert at(server, "task", "follow", task, "--after", "4") == "", "everything has been read"
    events = [json.loads(line) for line in at(server, "task", "follow", task, "--json").splitlines()]
    assert [event["id"] for event in events] == [1, 2, 3, 4]
    assert events[-1]["status"] == {"state": "completed"}
    refused = hector("task", "cancel", task, "--server", server.url)
    assert (refused.returncode, refused.stdout) == (1, "")


def test_wherever_one_goes_on_a_failed_task_is_exit_code_1(server: HectorServer) -> None:
    session = at(server, "session", "create", "my_agent").strip()
    failed = hector("call", "my_agent", "fail please", "--session", session, "--json", "--server", server.url)
    task = json.loads(failed.stdout)["taskId"]
    end = json.loads(hector("task", "follow", task, "--json", "--server", server.url).stdout.splitlines()[-1])["id"]
    why = "hector: The builtin agent failed, as it was asked to.\n"
    nothing = f"hector: The task has no events after number {end - 1} but its end.\n"
    for after, said in ((0, why), (end - 1, why), (end, why), (99, nothing + why)):
        done = hector("task", "follow", task, "--after", str(after), "--server", server.url)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", said)
        assert hector("task", "follow", task, "--after", str(after), "--json", "--server", server.url).returncode == 1


def test_a_running_task_is_followed_left_and_canceled(server: HectorServer) -> None:
    session = at(server, "session", "create", "my_agent").strip()
    caller = spawn("call", "my_agent", "count to 500 every 50 ms", "--session", session, "--server", server.url)
    while not (tasks := at(server, "task", "list", session)):
        time.sleep(0.05)
    task = tasks.split("\t")[0]
    child = spawn("task", "follow", task, "--server", server.url)
    child.expect_exact("1 2 3 4 5")
    child.sendintr()
    assert ended(child) == 130
    assert "state\tworking\n" in at(server, "task", "get", task), "whoever follows does not cancel"
    assert at(server, "task", "cancel", task) == "canceled\n"
    assert ended(caller) == 1
    assert hector("task", "follow", task, "--server", server.url).returncode == 1


@pytest.mark.parametrize(
    "command",
    [
        ["chat", "my_agent", "--session", "gone"],
        ["call", "my_agent", "hello", "--session", "gone"],
        ["session", "messages", "gone"],
        ["session", "export", "gone"],
        ["task", "list", "gone"],
    ],
)
def test_a_session_that_is_gone_is_told_in_terms_of_commands(server: HectorServer, command: list[str]) -> None:
    done = hector(*command, "--server", server.url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "hector: There is no session 'gone': it may have ended or expired. `hector session list` shows those that are"
        " there, `hector session create AGENT` starts one.\n"
    )


@pytest.mark.parametrize("command", [["session", "list"], ["task", "get", "x"]])
def test_in_process_they_need_a_store_that_lasts(command: list[str]) -> None:
    done = hector(*command)
    assert done.returncode == 2
    assert f"hector: hector {command[0]} needs sessions that outlive a process" in done.stderr


def test_in_process_on_a_shared_store(shared_store: str) -> None:
    settings = {"HECTOR_STORE": shared_store}
    session = hector("session", "create", "my_agent", **settings).stdout.strip()
    assert session, hector("session", "create", "my_agent", **settings).stderr
    assert hector("call", "my_agent", "My name is Alice", "--session", session, **settings).returncode == 0
    said = hector("call", "my_agent", "What is my name?", "--session", session, **settings)
    assert said.stdout == "Your name is Alice.\n"
    assert len(hector("task", "list", session, **settings).stdout.splitlines()) == 2
    Path("hector.yaml").write_text("llms: {b: {type: builtin}}\nagents: {my_agent: {llm: b}}\n")
    away = hector("session", "list", HECTOR_STORE="dynamodb://nowhere?endpoint_url=http://127.0.0.1:9")
    assert away.returncode == 1
    assert len(away.stderr.splitlines()) == 1
