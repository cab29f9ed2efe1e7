"""`hector call`, in process and with a server: what it prints, and its exit codes."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pexpect
import pytest

from tests.cli.driving import COLOUR, HECTOR, XTERM, ended, hector, shown, spawn
from tests.processes import ENVIRONMENT, HectorServer


@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_prints_the_answer(where: list[str], stream: list[str]) -> None:
    done = hector("call", "my_agent", "My name is Alice", *stream, *where)
    assert done.stdout == "Nice to meet you, Alice. I will remember your name in this session.\n"
    assert (done.returncode, done.stderr) == (0, "")


def test_streams_token_by_token(where: list[str]) -> None:
    child = spawn("call", "my_agent", "count to 3 every 400 ms", "--stream", *where)
    child.expect_exact("1 2")
    assert child.isalive(), "the first words are printed while the agent goes on"
    child.expect_exact(" 3")
    assert ended(child) == 0


@pytest.mark.parametrize("argument", [[], ["-"]])
def test_reads_the_prompt_from_standard_input(argument: list[str]) -> None:
    assert hector("call", "my_agent", *argument, text="My name is\nAlice\n").stdout.startswith(
        "Nice to meet you, Alice"
    )


def test_prints_the_task_as_one_document(where: list[str]) -> None:
    done = hector("call", "my_agent", "count to 3", "--json", *where)
    task = json.loads(done.stdout)
    assert task["output"] == {"type": "text/plain", "content": "1 2 3"}
    assert (task["agentId"], task["status"]["state"], task["usage"]["outputTokens"]) == ("my_agent", "completed", 3)
    failed = hector("call", "my_agent", "fail please", "--json", *where)
    assert json.loads(failed.stdout)["status"]["error"]["code"] == "asked_to_fail"
    assert failed.returncode == 1


def test_goes_on_in_a_session(server: HectorServer) -> None:
    at = ["--server", server.url]
    session = json.loads(hector("call", "my_agent", "My name is Alice", "--json", *at).stdout)["sessionId"]
    assert hector("call", "my_agent", "What is my name?", "--session", session, *at).stdout == "Your name is Alice.\n"
    other = hector("call", "assistant", "hello", "--session", session, *at)
    assert other.returncode == 2
    assert other.stderr == f"hector: --session: session {session} is with agent 'my_agent', not 'assistant'.\n"
    gone = hector("call", "my_agent", "hello", "--session", "gone", *at)
    assert (gone.returncode, gone.stderr[:38]) == (1, "hector: There is no session 'gone': it")


def test_in_process_a_session_needs_a_store_that_lasts() -> None:
    done = hector("call", "my_agent", "hello", "--session", "x")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "hector: --session needs sessions that outlive a process, and here they are in its mem"
    )


def test_a_failed_task_is_exit_code_1_and_says_why(where: list[str]) -> None:
    done = hector("call", "my_agent", "fail please", *where)
    assert (done.returncode, done.stdout) == (1, "")
    assert "hector: The builtin agent failed, as it was asked to." in done.stderr


def test_an_unknown_agent_is_explained(where: list[str]) -> None:
    done = hector("call", "nobody", "hello", *where)
    assert done.returncode == 1
    assert done.stderr == "hector: There is no agent 'nobody'. This server has: assistant, my_agent, support_agent.\n"


def test_a_server_that_is_not_there_is_exit_code_3() -> None:
    done = hector("call", "my_agent", "hello", HECTOR_SERVER="http://127.0.0.1:9")
    assert done.returncode == 3
    assert done.stderr.startswith("hector: The server at http://127.0.0.1:9 cannot be reached: ")


class Guarded(BaseHTTPRequestHandler):
    """An API of which a gateway asks for a token, and says so as a gateway does."""

    def do_GET(self) -> None:
        known = self.headers["Authorization"] == "Bearer good.token"
        body: dict[str, object] = {"items": []} if known else {"detail": "Send a valid bearer token."}
        self.send_response(200 if known else 401)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        pass


def test_a_server_gets_the_token_that_the_environment_holds() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Guarded) as guarded:
        threading.Thread(target=guarded.serve_forever, daemon=True).start()
        at = ["list", "--json", "--server", f"http://127.0.0.1:{guarded.server_port}"]
        assert hector(*at, HECTOR_TOKEN="good.token\n").returncode == 0
        for token in ("", "bad"):
            refused = hector(*at, HECTOR_TOKEN=token)
            assert refused.returncode == 1
            assert "Send a valid bearer token. This command sends the bearer token that" in refused.stderr
        unusable = hector(*at, HECTOR_TOKEN="bäd")
        assert (unusable.returncode, "HECTOR_TOKEN has characters" in unusable.stderr) == (2, True)
        guarded.shutdown()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["hello", "--server", "localhost:8080"], "--server: 'localhost:8080' is not an address such as"),
        (["hello", "--server", "http://localhost:1", "--config", "x.yaml"], "--server and --config exclude each other"),
        (["hello", "--stream", "--json"], "--stream and --json exclude each other"),
        (["  "], "PROMPT is empty"),
        ([], "PROMPT is empty"),
        (["--config", "none.yaml", "hello"], "none.yaml: cannot read the configuration"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], said: str) -> None:
    done = hector("call", "my_agent", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"hector: {said}")


def test_a_prompt_that_is_no_text_is_refused() -> None:
    done = hector("call", "my_agent", text=b"\xff\xfe")
    assert (done.returncode, done.stderr) == (2, "hector: PROMPT is not UTF-8 text.\n")
    child = spawn("call", "my_agent")
    child.expect_exact("PROMPT is missing: give it as an argument, or pipe it in.")
    assert ended(child) == 2


def test_ctrl_c_cancels_the_task_and_is_exit_code_130(server: HectorServer) -> None:
    session = hector("session", "create", "my_agent", "--server", server.url).stdout.strip()
    child = spawn("call", "my_agent", "be silent for 30 seconds", "--session", session, "--server", server.url)
    path = f"{server.url}/sessions/{session}"
    wait_for(lambda: httpx.get(path).json()["status"] == "busy")
    time.sleep(0.3)
    child.sendintr()
    assert ended(child) == 130
    tasks = httpx.get(f"{server.url}/tasks", params={"sessionId": session}).json()["items"]
    assert [task["status"]["state"] for task in tasks] == ["canceled"], "although no event had come yet"


def test_a_reader_that_leaves_ends_it_quietly(server: HectorServer) -> None:
    command = [*HECTOR, "call", "my_agent", "count to 100000 every 1 ms", "--stream", "--server", server.url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.read(4) == b"1 2 "
    process.stdout.close()
    assert process.wait(10) == 1
    assert process.stderr.read() == b""
    process.stderr.close()


def test_a_terminal_is_not_steered_by_an_agent() -> None:
    Path("evil.py").write_text("def answer(turn):\n    return 'a\\x1b]0;owned\\x07b\\x9b31mc\\n'\n")
    Path("hector.yaml").write_text("llms: {e: {type: python, target: 'evil:answer'}}\nagents: {e: {llm: e}}\n")
    for term in ("dumb", "xterm"):
        child = spawn("call", "e", "hello", "--stream", environment={"TERM": term})
        child.expect(pexpect.EOF)
        assert "a]0;ownedb31mc" in shown(child.before)
        assert "\x1b]0;" not in (child.before or "")
    assert "a\x1b]0;owned\x07b\x9b31mc" in hector("call", "e", "hello").stdout, "a pipe gets what the agent said"


def test_plain_where_nothing_can_be_drawn() -> None:
    child = spawn("call", "my_agent", "count to 3", "--stream", environment={"TERM": "dumb"})
    child.expect(pexpect.EOF)
    assert child.before == "1 2 3\r\n"


def test_no_color_takes_the_colours_away_and_nothing_else() -> None:
    said = "count to 4 every 200 ms"
    coloured, plain = (
        spawn("call", "my_agent", said, "--stream", environment={**XTERM, **more}) for more in ({}, {"NO_COLOR": "1"})
    )
    for child in (coloured, plain):
        child.expect(pexpect.EOF)
        assert re.search("[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] .*1 s", shown(child.before)), "there is a spinner, and the seconds that it took"
        assert "6 tokens in, 4 out" in shown(child.before)
    assert COLOUR.search(coloured.before or "")
    assert not COLOUR.search(plain.before or "")


def test_a_terminal_shows_markdown_and_what_it_took() -> None:
    child = spawn("call", "my_agent", "count to 3", environment=XTERM)
    child.expect(pexpect.EOF)
    assert "1 2 3" in shown(child.before)
    assert "3 tokens in, 3 out · " in shown(child.before)


def wait_for(condition: object, seconds: float = 5.0) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_waits_for_its_turn_in_a_busy_session_if_it_is_told_to(server: HectorServer) -> None:
    at = ["--server", server.url]
    session = hector("session", "create", "my_agent", *at).stdout.strip()
    running = spawn("call", "my_agent", "count to 60 every 100 ms", "--stream", "--session", session, *at)
    running.expect_exact("1 2")
    refused = hector("call", "my_agent", "hello", "--session", session, *at)
    assert refused.returncode == 1
    assert "busy" in refused.stderr
    waited = hector("call", "my_agent", "count to 3", "--session", session, "--turn-policy", "enqueue", *at)
    assert (waited.returncode, waited.stdout) == (0, "1 2 3\n")
    assert ended(running) == 0
