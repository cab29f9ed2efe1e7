"""`hector serve` makes its process ready for many streams."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from hector.cli.serve import OPEN_FILES, listen
from tests.processes import HectorServer, hector_server

CONFIG = """
llms: {itself: {type: python, target: "itself:answer"}}
agents: {itself: {llm: itself}}
"""
ITSELF = """
import gc, resource
def answer(turn):
    return f"{resource.getrlimit(resource.RLIMIT_NOFILE)[0]} {gc.get_freeze_count()}"
"""


@pytest.fixture
def few_open_files() -> Iterator[int]:
    """As many systems start a process; what it may ask for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    yield OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_it_asks_for_open_files_and_spares_the_garbage_collector(few_open_files: int, tmp_path: Path) -> None:
    (tmp_path / "itself.py").write_text(ITSELF)
    with hector_server(CONFIG, tmp_path) as server:
        message = {"message": {"parts": [{"type": "text", "text": "How many?"}]}}
        task = httpx.post(f"{server.url}/agents/itself/message/send", json=message).json()
    files, frozen = map(int, task["output"]["content"].split())
    assert files == few_open_files
    assert frozen > 10_000


def second_line(server: HectorServer) -> str:
    assert server.process.stdout is not None
    return server.process.stdout.readline()


def test_it_says_which_configuration_it_read(tmp_path: Path) -> None:
    with hector_server("llms: {b: {type: builtin}}\nagents: {a: {llm: b}}\n", tmp_path) as server:
        assert second_line(server) == "Configured by hector.yaml.\n"
    (tmp_path / "hector.yaml").rename(tmp_path / "other.yaml")
    with hector_server(folder=tmp_path, HECTOR_CONFIG="other.yaml") as server:
        assert second_line(server) == "Configured by other.yaml.\n"


def test_it_says_that_there_is_none_and_what_answers_then(tmp_path: Path) -> None:
    none = "There is no hector.yaml here"
    with hector_server() as server:
        said = second_line(server)
        assert said == f"{none}; `hector config init` writes one. The builtin stand-in answers.\n"
    (tmp_path / "hector.yml").write_text("agents: {}\n")
    with hector_server(folder=tmp_path, HECTOR_MODEL="amazon.nova-lite-v1:0", AWS_REGION="eu-west-1") as server:
        said = second_line(server)
        assert said.startswith(f"{none}, and hector.yml is not read: the file is to be called hector.yaml. The model")


async def test_small_pieces_are_sent_at_once_on_connections_that_are_kept() -> None:
    """Else each answer after the first waits for the client's delayed acknowledgement: some 40 ms."""
    accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("socket")
        accepted.set_result(peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    listening = listen("127.0.0.1", 0)
    async with await asyncio.start_server(serve, sock=listening):
        _, writer = await asyncio.open_connection(*listening.getsockname())
        assert await accepted
        writer.close()
