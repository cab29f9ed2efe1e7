"""`hector chat`, as a person uses it: on a real terminal, in process and with a server."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pexpect

from tests.cli.driving import COLOUR, XTERM, ended, hector, shown, spawn
from tests.processes import HectorServer, hector_server

UP = "\x1b[A"


def test_remembers_and_reads_a_pipe(where: list[str]) -> None:
    done = hector("chat", "my_agent", *where, text="My name is Alice\n\nWhat is my name?\n/quit\nnot reached\n")
    assert done.stdout.splitlines()[1] == "Your name is Alice."
    assert "not reached" not in done.stdout
    assert (done.returncode, done.stderr) == (0, "")


def test_a_pipe_learns_of_a_failure() -> None:
    done = hector("chat", "my_agent", text="fail please\nMy name is Alice\n")
    assert "Alice" in done.stdout, "the chat goes on"
    assert done.returncode == 1


def test_on_a_terminal(where: list[str]) -> None:
    child = chat("my_agent", *where)
    child.sendline("My name is Alice")
    child.expect_exact("Nice to meet you, Alice.")
    child.expect_exact("you>")
    child.sendline("count to 500 every 100 ms")
    child.expect_exact("1 2 3")
    child.sendintr()
    child.expect_exact("(canceled)")
    child.expect_exact("you>")
    child.sendline("What is my name?")
    child.expect_exact("Your name is Alice.")
    child.expect_exact("you>")
    child.sendeof()
    assert ended(child) == 0


def test_ctrl_c_before_the_first_word_frees_the_session(where: list[str]) -> None:
    child = chat("my_agent", *where)
    child.sendline("be silent for 30 seconds")
    child.expect(pexpect.TIMEOUT, timeout=1.5)
    child.sendintr()
    child.expect_exact("(canceled)")
    child.expect_exact("you>")
    child.sendline("count to 3")
    child.expect_exact("1 2 3")
    child.sendline("/quit")
    assert ended(child) == 0


def test_ctrl_c_at_the_prompt_clears_the_line() -> None:
    child = chat("my_agent", environment=XTERM)
    child.send("My name is Bob")
    child.expect_exact("Bob")
    child.sendintr()
    child.sendline("My name is Alice")
    child.expect_exact("Nice to meet you, Alice.")
    child.sendeof()
    assert ended(child) == 0
    assert "Bob" not in history()


def test_the_line_can_be_edited_and_the_history_is_there_the_next_time() -> None:
    child = chat("my_agent", environment=XTERM)
    child.sendline("My name is Alic" + "\x01" + "\x05" + "e")  # to the beginning of the line, and back to its end
    child.expect_exact("Nice to meet you, Alice.")
    child.expect_exact("you>")
    child.sendeof()
    assert ended(child) == 0
    assert "+My name is Alice\n" in history()
    file = Path(".local/state/hector/history")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600, "prompts are private"
    again = chat("my_agent", environment=XTERM)
    again.send(UP)
    again.expect_exact("Alice")
    again.send("tte\r")
    again.expect_exact("Nice to meet you, Alicette.")
    again.sendeof()
    assert ended(again) == 0


def test_a_chat_without_colours() -> None:
    child = chat("my_agent", environment={**XTERM, "NO_COLOR": "1"})
    child.sendline("count to 40 every 50 ms")
    child.expect("[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]")
    child.expect_exact("40 out")
    assert not COLOUR.search(child.before or "")
    child.expect_exact("you>")
    child.sendeof()
    assert ended(child) == 0


def test_without_a_place_for_the_history_it_goes_on() -> None:
    Path(".local").write_text("not a folder")
    child = chat("my_agent")
    child.sendline("count to 3")
    child.expect_exact("1 2 3")
    child.sendeof()
    assert ended(child) == 0


def test_the_commands(server: HectorServer) -> None:
    child = chat("my_agent", "--server", server.url)
    child.sendline("/help")
    for command in ("/help", "/info", "/clear", "/quit"):
        child.expect_exact(f"{command}\t")
    child.sendline("/info")
    child.expect_exact("none yet: it begins with your next message")
    child.sendline("My name is Alice")
    child.expect_exact("Nice to meet you, Alice.")
    child.sendline("/info")
    child.expect_exact("my_agent (My agent)")
    child.expect_exact(f"The server at {server.url}")
    child.expect(r"session\t([0-9a-f-]{36})")
    session = matched(child)
    child.expect_exact("turns\t1")
    child.expect_exact("tokens\t4 in, 13 out")
    child.sendline("/clear")
    child.expect_exact(f"You leave {session}.")
    child.sendline("What is my name?")
    child.expect_exact("You have not told me your name yet.")
    child.sendline("/nothing")
    child.expect_exact("There is no command /nothing; /help lists them.")
    child.sendline("/quit")
    child.expect("Go on another time with --session ([0-9a-f-]{36})")
    assert matched(child) != session
    assert ended(child) == 0
    again = chat("my_agent", "--server", server.url, "--session", session)
    again.sendline("What is my name?")
    again.expect_exact("Your name is Alice.")
    again.sendeof()
    assert ended(again) == 0


def test_an_error_is_said_and_the_chat_goes_on(server: HectorServer) -> None:
    session = hector("session", "create", "my_agent", "--server", server.url).stdout.strip()
    child = chat("my_agent", "--server", server.url, "--session", session)
    assert hector("session", "end", session, "--server", server.url).returncode == 0
    for said in ("hello", "/info"):
        child.sendline(said)
        child.expect_exact("hector: This session is gone (ended, expired, or the server kept it in memory and was")
        child.expect_exact("restarted). /clear begins a new one.")
    child.sendline("/clear")
    child.expect_exact("A new session begins with your next message.")
    child.sendline("count to 3")
    child.expect_exact("1 2 3")
    assert session not in (child.before or ""), "one does not leave what is gone"
    child.sendeof()
    child.expect_exact("Go on another time with --session ")
    assert ended(child) == 0


def test_there_is_no_going_on_with_a_session_that_is_gone(server: HectorServer) -> None:
    session = hector("session", "create", "my_agent", "--server", server.url).stdout.strip()
    child = chat("my_agent", "--server", server.url, "--session", session)
    assert hector("session", "end", session, "--server", server.url).returncode == 0
    child.sendeof()
    child.expect(pexpect.EOF)
    assert "Go on another time" not in (child.before or "")
    child.close()
    assert child.exitstatus == 0


def test_one_whose_server_is_away_may_be_gone_on_with() -> None:
    with hector_server() as server:
        child = chat("my_agent", "--server", server.url)
        child.sendline("count to 3")
        child.expect_exact("1 2 3")
        child.expect_exact("you>")
    child.sendeof()
    child.expect_exact("Go on another time with --session ")
    assert ended(child) == 0


def test_what_is_wrong_is_said_before_the_first_prompt() -> None:
    assert hector("chat", "nobody", text="hello\n").returncode == 1
    assert hector("chat", "my_agent", "--server", "http://127.0.0.1:9", text="hello\n").returncode == 3
    refused = hector("chat", "my_agent", "--session", "x", text="hello\n")
    assert (refused.returncode, refused.stdout) == (2, "")


def test_a_terminal_shows_markdown_progress_and_tokens() -> None:
    Path("mine.py").write_text(
        "import asyncio\n"
        "from hector.agents.base import Progress, Text\n"
        "from hector.model import Usage\n"
        "async def answer(turn):\n"
        "    yield Progress('Reading the orders', 0.3)\n"
        "    await asyncio.sleep(1)\n"
        "    orders = '- a\\n', '- `b`\\n\\n```python\\nprint(1)\\n```'\n"
        "    for piece in ('# Orders\\n\\n', 'You have **two** orders:\\n\\n', *orders):\n"
        "        yield piece\n"
        "        await asyncio.sleep(0.2)\n"
    )
    Path("hector.yaml").write_text("llms: {m: {type: python, target: 'mine:answer'}}\nagents: {m: {llm: m}}\n")
    child = chat("m", environment=XTERM, columns=40, lines=12)
    child.sendline("show")
    child.expect_exact("Reading the orders (30%)")
    child.expect(r"\d\.\d s")
    text = shown(child.before)
    assert "**" not in text
    assert "```" not in text.rsplit("print(1)", 1)[1], "the fence is drawn as code once it is complete"
    for piece in ("Orders", "You have two orders:", " • a", " • b", "print(1)"):
        assert piece in text
    child.expect_exact("you>")
    child.sendeof()
    assert ended(child) == 0
    noted = hector("call", "m", "show")
    assert noted.stderr == "(Reading the orders (30%))\n"
    assert noted.stdout.startswith("# Orders\n\nYou have **two** orders:")


def chat(
    agent: str, *arguments: str, columns: int = 120, lines: int = 40, environment: dict[str, str] | None = None
) -> pexpect.spawn[str]:
    child = spawn("chat", agent, *arguments, columns=columns, lines=lines, environment=environment)
    child.expect_exact("you>")
    return child


def matched(child: pexpect.spawn[str]) -> str:
    assert isinstance(child.match, re.Match)
    return str(child.match[1])


def history() -> str:
    return Path(".local/state/hector/history").read_text()
