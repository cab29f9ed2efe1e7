"""What makes a session makes one, also where the answer is lost; and a file is read while all else goes on."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import IO

import httpx
import pytest

from hector.cli.client import Client
from hector.cli.exits import Unreachable
from hector.cli.reading import pieces
from tests.cli.driving import HECTOR, hector
from tests.cli.proxies import proxy_before
from tests.processes import ENVIRONMENT, HectorServer, hector_server

LOST = [20]
"""The connection is cut after so many bytes of the first answer."""


def sessions(url: str) -> list[str]:
    return [session["sessionId"] for session in httpx.get(f"{url}/sessions").json()["items"]]


@pytest.mark.parametrize("command", ["create", "fork", "import", "call"])
async def test_a_lost_answer_makes_no_second_session(command: str) -> None:
    with hector_server() as server:
        session = httpx.post(f"{server.url}/sessions", json={"agentId": "my_agent"}).json()["sessionId"]
        Path("file").write_bytes(httpx.get(f"{server.url}/sessions/{session}/export").content)
        arguments = {
            "create": ["session", "create", "my_agent", "--metadata", '{"a": 1}'],
            "fork": ["session", "fork", session],
            "import": ["session", "import", "file"],
            "call": ["call", "my_agent", "count to 3"],
        }[command]
        async with proxy_before(server.port, LOST) as proxy:
            done = await asyncio.to_thread(hector, *arguments, "--server", proxy.address)
        assert (done.returncode, done.stderr) == (0, "")
        made = set(sessions(server.url)) - {session}
        assert len(made) == 1
        assert done.stdout.strip() in (*made, "1 2 3")


async def test_a_pipe_is_sent_once(server: HectorServer) -> None:
    session = hector("session", "create", "my_agent", "--server", server.url).stdout
    text = hector("session", "export", session.strip(), "--server", server.url).stdout
    async with proxy_before(server.port, LOST) as proxy:
        lost = await asyncio.to_thread(hector, "session", "import", "--server", proxy.address, text=text)
        assert lost.returncode == 3
        again = await asyncio.to_thread(hector, "session", "import", "--server", proxy.address, text=text)
        assert again.returncode == 0


async def test_it_is_not_tried_forever(server: HectorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hector.cli.client.AGAIN_SECONDS", (0.01, 0.01))
    async with proxy_before(server.port, [20] * 3) as proxy, httpx.AsyncClient(base_url=proxy.address) as http:
        client = Client(http, "The server", lasting=True)
        with pytest.raises(Unreachable):
            await client.create("sessions", body={"agentId": "my_agent"})
        assert (await client.create("sessions", body={"agentId": "my_agent"}))["agentId"] == "my_agent"


async def test_what_is_read_keeps_nothing_waiting() -> None:
    reader, writer = os.pipe()
    with open(reader, "rb", buffering=0) as source, open(writer, "wb", buffering=0) as sink:
        reading = pieces(source)
        for said in (b"one", b"two"):
            piece = asyncio.ensure_future(anext(reading))
            await asyncio.sleep(0.05)
            assert not piece.done(), "the loop goes on while nothing is there"
            sink.write(said)
            assert await piece == said
        sink.close()
        assert [piece async for piece in reading] == []


@pytest.mark.skipif(sys.platform != "linux", reason="how much a pipe still holds is asked of Linux")
def test_ctrl_c_ends_an_import_whose_pipe_says_nothing(server: HectorServer) -> None:
    command = [*HECTOR, "session", "import", "--server", server.url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(b" ")
        process.stdin.flush()
        end = time.monotonic() + 15
        while held(process.stdin):
            assert time.monotonic() < end
            time.sleep(0.05)
        time.sleep(0.2)  # it reads again
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stderr.read() == b""


@pytest.mark.skipif(sys.platform != "linux", reason="a file that opens and cannot be read is Linux's")
def test_a_file_that_cannot_be_read_is_said_by_its_name(server: HectorServer) -> None:
    done = hector("session", "import", "/proc/self/mem", "--server", server.url)
    assert (done.returncode, done.stderr) == (2, "hector: /proc/self/mem: cannot be read: Input/output error\n")


def held(pipe: IO[bytes]) -> int:
    """The bytes that are in the pipe."""
    count: int = struct.unpack("i", fcntl.ioctl(pipe.fileno(), termios.FIONREAD, struct.pack("i", 0)))[0]
    return count
