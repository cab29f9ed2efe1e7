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
from tests.processes import hector_server

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
