"""The command line with a server, over a connection that breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
import pytest

from hector.cli.client import Client
from hector.cli.exits import Unreachable
from hector.cli.stream import RECONNECT_SECONDS, Reconnecting, StreamEvent, TaskStream
from tests.cli.driving import ended, spawn
from tests.processes import HectorServer
from tests.support import services_with, serving


@asynccontextmanager
async def cutting_proxy(port: int, cut_after: list[int]) -> AsyncIterator[str]:
    """A TCP proxy that cuts the n-th connection after `cut_after[n]` bytes of its answer; later ones live."""
    limits = iter(cut_after)
    connections: set[asyncio.Task[None] | None] = set()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.current_task())
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", port)

        async def forward_request() -> None:
            while data := await reader.read(65536):
                upstream_writer.write(data)
            upstream_writer.close()

        forwarding = asyncio.create_task(forward_request())
        left = next(limits, 10**9)
        with suppress(ConnectionError):
            while left > 0 and (data := await upstream_reader.read(min(left, 65536))):
                left -= len(data)
                writer.write(data)
                await writer.drain()
        forwarding.cancel()
        upstream_writer.close()
        writer.close()

    proxy = await asyncio.start_server(connect, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
    finally:
        proxy.close()
        await asyncio.wait({task for task in connections if task}, timeout=5)


async def read(address: str, session_id: str, text: str) -> tuple[str, list[str], int]:
    """What was said, the states, and how often the connection was made again."""
    said, states, again = "", [], 0
    async with httpx.AsyncClient(base_url=address) as http:
        async for event in TaskStream.saying(Client(http, "The server", lasting=True), session_id, text).events():
            match event:
                case StreamEvent():
                    said += event.text
                    states += [event.status["state"]] if event.status else []
                case Reconnecting():
                    again += 1
    return said, states, again


async def session_at(client: httpx.AsyncClient) -> str:
    session_id: str = (await client.post("/sessions", json={"agentId": "my_agent"})).json()["sessionId"]
    return session_id


@pytest.mark.parametrize("cuts", [[900], [1200, 700, 1], [450, 2000]])
async def test_no_token_is_lost_or_doubled(cuts: list[int]) -> None:
    async with serving(services_with()) as client, cutting_proxy(client.base_url.port or 0, cuts) as address:
        said, states, again = await read(address, await session_at(client), "count to 30 every 10 ms")
        assert said == " ".join(map(str, range(1, 31)))
        assert (states, again) == (["completed"], len(cuts))


@pytest.mark.parametrize("cuts", [[0], [20], [20, 20, 0]])
async def test_a_message_that_may_not_have_arrived_is_sent_again_and_answered_once(cuts: list[int]) -> None:
    async with serving(services_with()) as client, cutting_proxy(client.base_url.port or 0, cuts) as address:
        session_id = await session_at(client)
        assert (await read(address, session_id, "count to 3"))[:2] == ("1 2 3", ["completed"])
        assert (await client.get(f"/sessions/{session_id}")).json()["turns"] == 1


async def test_a_server_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hector.cli.stream.RECONNECT_SECONDS", (0.01,) * len(RECONNECT_SECONDS))
    cuts = [900] + [0] * 50
    async with serving(services_with()) as client, cutting_proxy(client.base_url.port or 0, cuts) as address:
        with pytest.raises(Unreachable, match="cannot be reached"):
            await read(address, await session_at(client), "count to 100 every 10 ms")


async def test_a_chat_on_a_terminal_goes_on_by_itself(server: HectorServer) -> None:
    def talk(address: str) -> None:
        child = spawn("chat", "my_agent", "--server", address, columns=400)
        child.expect_exact("you> ")
        child.sendline("count to 40 every 20 ms")
        child.expect_exact("(The connection was lost; reconnecting)")
        before = child.before or ""
        child.expect_exact("you> ")
        lines = (before + (child.before or "")).splitlines()
        assert "".join(lines[1:]).strip() == " ".join(map(str, range(1, 41)))
        child.sendeof()
        assert ended(child) == 0

    async with cutting_proxy(int(server.url.rsplit(":")[-1]), [3000]) as address:
        await asyncio.to_thread(talk, address)
