"""The command line with a server, over a connection that breaks."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from hector.cli.client import Client
from hector.cli.exits import Unreachable
from hector.cli.stream import RECONNECT_SECONDS, Reconnecting, StreamEvent, TaskStream
from tests.cli.driving import XTERM, ended, shown, spawn
from tests.cli.proxies import Proxy, proxy_before
from tests.processes import HectorServer
from tests.support import services_with, serving


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
    async with serving(services_with()) as client, proxy_before(client.base_url.port or 0, cuts) as proxy:
        said, states, again = await read(proxy.address, await session_at(client), "count to 30 every 10 ms")
        assert said == " ".join(map(str, range(1, 31)))
        assert (states, again) == (["completed"], len(cuts))


@pytest.mark.parametrize("cuts", [[0], [20], [20, 20, 0]])
async def test_a_message_that_may_not_have_arrived_is_sent_again_and_answered_once(cuts: list[int]) -> None:
    async with serving(services_with()) as client, proxy_before(client.base_url.port or 0, cuts) as proxy:
        session_id = await session_at(client)
        assert (await read(proxy.address, session_id, "count to 3"))[:2] == ("1 2 3", ["completed"])
        assert (await client.get(f"/sessions/{session_id}")).json()["turns"] == 1


async def test_a_server_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hector.cli.stream.RECONNECT_SECONDS", (0.01,) * len(RECONNECT_SECONDS))
    cuts = [900] + [0] * 50
    async with serving(services_with()) as client, proxy_before(client.base_url.port or 0, cuts) as proxy:
        with pytest.raises(Unreachable, match="cannot be reached"):
            await read(proxy.address, await session_at(client), "count to 100 every 10 ms")


COUNTED = " ".join(map(str, range(1, 41)))


async def test_a_chat_on_a_terminal_goes_on_by_itself(server: HectorServer) -> None:
    def talk(address: str) -> None:
        child = spawn("chat", "my_agent", "--server", address, columns=400)
        child.expect_exact("you> ")
        child.sendline("count to 40 every 20 ms")
        child.expect_exact("(The connection was lost; reconnecting)")
        before = child.before or ""
        child.expect_exact("you> ")
        lines = (before + (child.before or "")).splitlines()
        assert "".join(lines[1:]).strip() == COUNTED
        child.sendeof()
        assert ended(child) == 0

    async with proxy_before(server.port, [3000]) as proxy:
        await asyncio.to_thread(talk, proxy.address)


async def test_so_does_a_chat_that_draws(server: HectorServer) -> None:
    def talk(proxy: Proxy) -> None:
        child = spawn("chat", "my_agent", "--server", proxy.address, columns=400, environment=XTERM)
        child.expect_exact("you>")
        child.sendline("count to 40 every 50 ms")
        child.expect_exact("1 2 3")
        proxy.cut()
        child.expect_exact("The connection was lost; reconnecting")
        child.expect_exact("40 out")
        assert shown(child.before).splitlines()[-2].strip() == COUNTED, "what is printed for good"
        child.expect_exact("you>")
        child.sendeof()
        assert ended(child) == 0

    async with proxy_before(server.port) as proxy:
        await asyncio.to_thread(talk, proxy)


@pytest.mark.parametrize("environment", [{}, XTERM])
@pytest.mark.parametrize("stream", [[], ["--stream"]])
async def test_so_does_a_call(server: HectorServer, stream: list[str], environment: dict[str, str]) -> None:
    def call(address: str) -> str:
        arguments = ["call", "my_agent", "count to 40 every 20 ms", *stream, "--server", address]
        child = spawn(*arguments, columns=400, environment=environment)
        child.expect_exact("The connection was lost; reconnecting")
        said = child.before or ""
        assert ended(child) == 0
        return shown(said + (child.before or ""))

    async with proxy_before(server.port, [3000]) as proxy:
        printed = await asyncio.to_thread(call, proxy.address)
    whole = printed.replace("()", "").replace("\n", "") if not environment else printed
    assert COUNTED in whole
