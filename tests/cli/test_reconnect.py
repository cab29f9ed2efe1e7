"""The command line's conversation with a server, over a connection that breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from hector.cli.conversation import RECONNECT_SECONDS, ServerConversation, ServerError
from tests.support import services_with, serving


@asynccontextmanager
async def cutting_proxy(port: int, cut_after: list[int]) -> AsyncIterator[str]:
    """A TCP proxy that cuts the n-th connection after `cut_after[n]` bytes of its answer; later ones live."""
    limits = iter(cut_after)

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", port)

        async def forward_request() -> None:
            while data := await reader.read(65536):
                upstream_writer.write(data)

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


async def words(conversation: ServerConversation, text: str) -> tuple[str, list[dict[str, Any]]]:
    said = [data async for data in conversation.say(text)]
    return "".join(data["message"]["parts"][0]["text"] for data in said if "message" in data), said


@pytest.mark.parametrize("cuts", [[900], [1200, 700, 1], [450, 2000]])
async def test_no_token_is_lost_or_doubled(cuts: list[int]) -> None:
    async with serving(services_with()) as client, cutting_proxy(client.base_url.port or 0, cuts) as address:
        conversation = ServerConversation(address, "my_agent")
        text, said = await words(conversation, "count to 30 every 10 ms")
        assert text == " ".join(map(str, range(1, 31)))
        assert [data["status"]["state"] for data in said if "status" in data] == ["completed"]
        await conversation.aclose()


async def test_a_message_that_may_not_have_arrived_is_not_sent_twice() -> None:
    services = services_with()
    async with serving(services) as client:
        async with cutting_proxy(client.base_url.port or 0, [20]) as address:
            conversation = ServerConversation(address, "my_agent")
            with pytest.raises(ServerError, match="cannot be reached"):
                await words(conversation, "hello")
            await conversation.aclose()
        await services.turns.drain()
        assert len((await client.get("/sessions")).json()["items"]) == 1


async def test_a_server_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hector.cli.conversation.RECONNECT_SECONDS", (0.01,) * len(RECONNECT_SECONDS))
    cuts = [900] + [0] * 50
    async with serving(services_with()) as client, cutting_proxy(client.base_url.port or 0, cuts) as address:
        conversation = ServerConversation(address, "my_agent")
        with pytest.raises(ServerError, match="cannot be reached"):
            await words(conversation, "count to 100 every 10 ms")
        await conversation.aclose()
