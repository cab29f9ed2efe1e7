"""Ctrl-C, over a connection that goes wrong: an answer is canceled, or a person is told that it may go on."""

from __future__ import annotations

import asyncio
import re
import time

import httpx
import pexpect
import pytest

from hector.cli.client import Client
from hector.cli.exits import NotCanceled
from hector.cli.stream import Reconnecting, TaskStream
from tests.cli.driving import ended, hector, spawn
from tests.cli.proxies import Proxy, proxy_before
from tests.processes import HectorServer
from tests.support import services_with, serving

SILENT = "be silent for 30 seconds"
ENDLESS = "count to 5000 every 50 ms"


def new_session(server: HectorServer) -> str:
    return hector("session", "create", "my_agent", "--server", server.url).stdout.strip()


def states(server: HectorServer, session: str) -> list[str]:
    """Of its tasks, newest first."""
    tasks = httpx.get(f"{server.url}/tasks", params={"sessionId": session}).json()["items"]
    return [task["status"]["state"] for task in tasks]


def wait_until_busy(server: HectorServer, session: str) -> None:
    end = time.monotonic() + 10
    while httpx.get(f"{server.url}/sessions/{session}").json()["status"] != "busy":
        assert time.monotonic() < end
        time.sleep(0.05)


def talking(session: str, address: str, said: str) -> pexpect.spawn[str]:
    child = spawn("chat", "my_agent", "--session", session, "--server", address, columns=400)
    child.expect_exact("you>")
    child.sendline(said)
    return child


async def test_a_call_is_canceled_before_the_server_has_answered(server: HectorServer) -> None:
    session = new_session(server)

    def call(address: str) -> None:
        child = spawn("call", "my_agent", SILENT, "--session", session, "--server", address)
        wait_until_busy(server, session)
        child.sendintr()
        assert ended(child) == 130

    async with proxy_before(server.port) as proxy:
        proxy.keep_back = 1
        await asyncio.to_thread(call, proxy.address)
    assert states(server, session) == ["canceled"]


async def test_a_chat_goes_on_after_a_cancel_before_the_server_has_answered(server: HectorServer) -> None:
    session = new_session(server)

    def talk(address: str) -> None:
        child = talking(session, address, SILENT)
        wait_until_busy(server, session)
        child.sendintr()
        child.expect_exact("(canceled)")
        child.expect_exact("you>")
        child.sendline("count to 3")
        child.expect_exact("1 2 3")
        child.sendeof()
        assert ended(child) == 0

    async with proxy_before(server.port) as proxy:
        proxy.keep_back = 1
        await asyncio.to_thread(talk, proxy.address)
    assert states(server, session) == ["completed", "canceled"]


async def test_a_chat_says_that_an_answer_could_not_be_canceled(server: HectorServer) -> None:
    session = new_session(server)

    def talk(proxy: Proxy) -> str:
        child = talking(session, proxy.address, ENDLESS)
        child.expect_exact("1 2 3")
        proxy.down = True
        proxy.cut()
        child.expect_exact("reconnecting")
        child.sendintr()
        child.expect_exact("hector: The answer could not be canceled, and may go on: The server at ")
        said = child.before or ""
        child.expect("`hector task cancel ([0-9a-f-]+)` stops it")
        assert isinstance(child.match, re.Match)
        task = child.match[1]
        said += child.before or ""
        child.expect_exact("you>")
        child.sendeof()
        assert ended(child) == 0
        assert "(canceled)" not in said
        return str(task)

    async with proxy_before(server.port) as proxy:
        task = await asyncio.to_thread(talk, proxy)
    assert states(server, session) == ["working"]
    assert hector("task", "cancel", task, "--server", server.url).stdout == "canceled\n"


async def test_a_call_says_so_too(server: HectorServer) -> None:
    session = new_session(server)

    def call(proxy: Proxy) -> None:
        child = spawn("call", "my_agent", ENDLESS, "--stream", "--session", session, "--server", proxy.address)
        child.expect_exact("1 2 3")
        proxy.down = True
        proxy.cut()
        child.expect_exact("reconnecting")
        child.sendintr()
        child.expect_exact("hector: The answer could not be canceled, and may go on: The server at ")
        assert ended(child) == 130

    async with proxy_before(server.port) as proxy:
        await asyncio.to_thread(call, proxy)
    assert hector("session", "end", session, "--server", server.url).returncode == 0


async def test_a_cancel_that_takes_long_is_seen_and_can_be_left(server: HectorServer) -> None:
    session = new_session(server)

    def talk(proxy: Proxy) -> None:
        child = talking(session, proxy.address, SILENT)
        wait_until_busy(server, session)
        proxy.keep_back = 100
        child.sendintr()
        child.expect_exact("(canceling)")
        child.sendintr()
        child.expect_exact("hector: The answer may go on: nobody waited to see it canceled.")
        child.expect_exact("you>")
        assert "(canceled)" not in (child.before or "")
        child.sendline("/info")
        child.expect_exact("turns\t")
        child.sendeof()
        assert ended(child) == 0

    async with proxy_before(server.port) as proxy:
        proxy.keep_back = 1
        await asyncio.to_thread(talk, proxy)
    assert hector("session", "end", session, "--server", server.url).returncode == 0


async def test_a_call_can_be_left_too(server: HectorServer) -> None:
    session = new_session(server)

    def call(proxy: Proxy) -> None:
        child = spawn("call", "my_agent", SILENT, "--session", session, "--server", proxy.address)
        wait_until_busy(server, session)
        child.sendintr()
        child.expect_exact("(canceling)")
        child.sendintr()
        child.expect_exact("hector: The answer may go on: nobody waited to see it canceled.")
        assert ended(child) == 130

    async with proxy_before(server.port) as proxy:
        proxy.keep_back = 100
        await asyncio.to_thread(call, proxy)
    assert hector("session", "end", session, "--server", server.url).returncode == 0


async def first_of(stream: TaskStream) -> object:
    return await anext(aiter(stream.events()))


async def test_a_cancel_is_not_waited_for_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hector.cli.stream.CANCEL_SECONDS", 0.2)
    async with serving(services_with()) as client, proxy_before(client.base_url.port or 0) as proxy:
        proxy.keep_back = 100
        session = (await client.post("/sessions", json={"agentId": "my_agent"})).json()["sessionId"]
        async with httpx.AsyncClient(base_url=proxy.address) as http:
            stream = TaskStream.saying(Client(http, "The server", lasting=True), session, SILENT)
            reading = asyncio.create_task(first_of(stream))
            while (await client.get(f"/sessions/{session}")).json()["status"] != "busy":
                await asyncio.sleep(0.02)
            reading.cancel()
            await asyncio.wait({reading})
            with pytest.raises(NotCanceled, match="The server did not answer within"):
                await stream.cancel()
        await client.delete(f"/sessions/{session}")


async def test_there_is_nothing_to_cancel_where_no_message_has_left() -> None:
    async with httpx.AsyncClient(base_url="http://127.0.0.1:9") as http:
        stream = TaskStream.saying(Client(http, "The server", lasting=True), "x", "hello")
        assert isinstance(await first_of(stream), Reconnecting)
        await stream.cancel()


async def test_nor_where_the_answer_has_ended() -> None:
    async with serving(services_with()) as client:
        session = (await client.post("/sessions", json={"agentId": "my_agent"})).json()["sessionId"]
        stream = TaskStream.saying(Client(client, "The server", lasting=True), session, "count to 3")
        assert len([event async for event in stream.events()]) == 4
        await stream.cancel()
