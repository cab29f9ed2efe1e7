"""What a command says of an address where no such server is, and of an output that takes nothing."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.cli.driving import HECTOR, hector
from tests.processes import ENVIRONMENT, HectorServer

ANSWERS = {"object": b"{}", "list": b"[]", "page": b"<html>", "other": b'{"agentId": "a", "items": []}'}


class Stranger(BaseHTTPRequestHandler):
    """Another API: it answers everything with what the first part of the path says."""

    def do_GET(self) -> None:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while self.rfile.readline() != b"0\r\n":
                pass
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = ANSWERS[self.path.split("/")[1]]
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_DELETE = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def stranger() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


COMMANDS = [
    ["list"],
    ["list", "--json"],
    ["info", "a"],
    ["call", "a", "hello"],
    ["call", "a", "hello", "--session", "x"],
    ["chat", "a"],
    ["session", "create", "a"],
    ["session", "list"],
    ["session", "show", "x", "--json"],
    ["session", "messages", "x"],
    ["session", "fork", "x"],
    ["session", "export", "x"],
    ["session", "import", "file"],
    ["session", "end", "x"],
    ["task", "list", "x"],
    ["task", "get", "x"],
    ["task", "follow", "x"],
    ["task", "cancel", "x"],
]


@pytest.mark.parametrize("answer", ["object", "list"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_another_api_is_told_apart(stranger: str, command: list[str], answer: str) -> None:
    Path("file").write_text("{}\n")
    done = hector(*command, "--server", f"{stranger}/{answer}")
    said = f"hector: What answers at {stranger}/{answer}/"
    assert (done.returncode, done.stdout, done.stderr[: len(said)]) == (1, "", said)
    assert "is not this API." in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_so_is_one_that_resembles_it(stranger: str) -> None:
    assert "is not this API." in hector("list", "--server", f"{stranger}/page").stderr
    resembling = hector("info", "a", "--server", f"{stranger}/other")
    assert resembling.returncode == 1
    assert resembling.stderr.startswith("hector: The server is not of this version, or not of this API: ")
    assert len(resembling.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://127.0.0.1:99999", "'http://127.0.0.1:99999' has the port 99999: a port is a number from 1 to 65535."),
        ("http://127.0.0.1:0", "'http://127.0.0.1:0' has the port 0: "),
        ("http://a..b", "'http://a..b' is not an address such as http://localhost:8080."),
    ],
)
def test_an_address_that_cannot_be_is_wrong_usage(address: str, said: str) -> None:
    named = hector("call", "a", "hello", "--server", address)
    assert (named.returncode, named.stderr[: len(said) + 18]) == (2, f"hector: --server: {said}")
    variable = hector("list", HECTOR_SERVER=address)
    assert (variable.returncode, variable.stderr[: len(said) + 23]) == (2, f"hector: HECTOR_SERVER: {said}")


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="a device that takes nothing is Linux's")
def test_an_output_that_is_full_is_said_in_a_sentence(server: HectorServer) -> None:
    at = ["--server", server.url]
    session = hector("session", "create", "my_agent", *at).stdout.strip()
    call = ["call", "my_agent", "count to 500 every 20 ms", "--session", session]
    for command in (["list"], ["list", "--json"], ["session", "export", session], [*call, "--stream"], ["--version"]):
        with FULL.open("wb") as full:
            done = subprocess.run(
                [*HECTOR, *command, *(at if command != ["--version"] else [])],
                stdout=full,
                stderr=subprocess.PIPE,
                env=ENVIRONMENT,
                timeout=30,
                check=False,
            )
        said = b"hector: Standard output cannot be written: No space left on device.\n"
        assert (done.returncode, done.stderr) == (1, said), command
    assert hector("task", "list", session, *at).stdout.split("\t")[1] == "canceled", "nobody reads that answer"


def test_an_output_that_is_closed_is_nobodys_fault(server: HectorServer) -> None:
    shell = ["sh", "-c", '"$@" >&-', "sh", *HECTOR, "list", "--server", server.url]
    done = subprocess.run(shell, stderr=subprocess.PIPE, env=ENVIRONMENT, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["task", "get", ""], "TASK"),
        (["task", "cancel", " "], "TASK"),
        (["task", "list", ""], "SESSION"),
        (["session", "fork", "x", "--task", ""], "--task"),
        (["session", "list", "--agent", ""], "--agent"),
        (["session", "import", "file", "--agent", ""], "--agent"),
        (["session", "create", ""], "AGENT"),
        (["info", ""], "AGENT"),
        (["chat", "my_agent", "--session", ""], "--session"),
        (["call", "my_agent", "hello", "--session", ""], "--session"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_an_empty_id_is_refused_by_its_name(command: list[str], name: str) -> None:
    done = hector(*command)
    assert (done.returncode, done.stderr) == (2, f"hector: {name} is empty: name one.\n")
