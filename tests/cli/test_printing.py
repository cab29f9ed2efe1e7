"""Standard output is the command's own: what a Python agent in the same process prints goes to standard error."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pexpect
import pytest

from tests.cli.driving import HECTOR, XTERM, hector, shown, spawn
from tests.processes import ENVIRONMENT

AGENT = """
import asyncio, subprocess, sys, threading
print("imported")

def in_thread(turn):
    print("from its thread")
    other = threading.Thread(target=print, args=("from a thread of its own",))
    other.start()
    other.join()
    sys.stdout.buffer.write(b"as bytes\\n")
    sys.stdout.flush()
    subprocess.run(["echo", "from a program"], stdout=sys.stdout if turn.text == "hand it over" else None)
    yield "ok"
    print("at the end", file=sys.stdout)

async def in_loop(turn):
    print("from the loop")
    await asyncio.gather(asyncio.to_thread(print, "from a worker"), asyncio.create_task(said()))
    yield "o"
    await asyncio.sleep(0.3)
    print("in between")
    yield "k"

async def said():
    print("from a task")
"""
CONFIG = """
llms: {t: {type: python, target: "talks:in_thread"}, l: {type: python, target: "talks:in_loop"}}
agents: {in_thread: {llm: t}, in_loop: {llm: l}}
"""
SAID = {
    "in_thread": [
        "imported",
        "from its thread",
        "from a thread of its own",
        "as bytes",
        "from a program",
        "at the end",
    ],
    "in_loop": ["imported", "from the loop", "from a worker", "from a task", "in between"],
}


@pytest.fixture(autouse=True)
def _talkative() -> None:
    Path("talks.py").write_text(AGENT)
    Path("hector.yaml").write_text(CONFIG)


@pytest.mark.parametrize("agent", SAID)
@pytest.mark.parametrize("prompt", ["hi", "hand it over"])
def test_the_document_is_all_that_is_on_standard_output(agent: str, prompt: str) -> None:
    done = hector("call", agent, prompt, "--json")
    assert json.loads(done.stdout)["output"]["content"] == "ok"
    assert sorted(done.stderr.splitlines()) == sorted(SAID[agent])


@pytest.mark.parametrize("agent", SAID)
def test_so_is_the_answer(agent: str) -> None:
    for options in ([], ["--stream"]):
        assert hector("call", agent, "hi", *options).stdout == "ok\n"
    assert hector("chat", agent, text="hi\nhi\n").stdout == "ok\nok\n"


def test_modules_may_print_as_they_are_imported() -> None:
    assert len(json.loads(hector("list", "--json").stdout)["items"]) == 2
    validated = hector("config", "validate", "--json")
    assert json.loads(validated.stdout) == {"valid": True, "problems": []}
    assert validated.stderr == "imported\n"


def test_where_standard_error_is_closed_it_goes_nowhere() -> None:
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *HECTOR, "call", "in_thread", "hi", "--json"]
    done = subprocess.run(command, capture_output=True, timeout=30, env=ENVIRONMENT, check=False)
    assert (done.returncode, json.loads(done.stdout)["output"]["content"]) == (0, "ok")


@pytest.mark.parametrize("agent", SAID)
def test_on_a_terminal_it_is_seen_beside_the_answer(agent: str) -> None:
    child = spawn("call", agent, "hi", "--stream", environment=XTERM)
    child.expect(pexpect.EOF)
    text = shown(child.before)
    for said in SAID[agent]:
        assert text.count(said) == 1
    assert "\nok" in text


def test_but_what_is_drawn_stays_out_of_a_file() -> None:
    command = ["-c", 'exec "$@" 2>errors', "sh", *HECTOR, "call", "in_loop", "hi", "--stream"]
    child = pexpect.spawn("sh", command, env={**ENVIRONMENT, **XTERM}, encoding="utf-8", timeout=15)
    child.expect(pexpect.EOF)
    assert sorted(Path("errors").read_text().splitlines()) == sorted(SAID["in_loop"])
    assert "ok" in shown(child.before)


def test_a_server_leaves_it_to_them() -> None:
    command = [*HECTOR, "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"imported\n"
        finally:
            process.terminate()
