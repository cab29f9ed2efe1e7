"""The app in this process as httpx's other end."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from hector.cli.inprocess import InProcess
from tests.support import wait_until


def client(app: object) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url="http://x", transport=InProcess(app), timeout=5)  # type: ignore[arg-type]


async def start(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"b")]})


async def test_the_request_arrives_and_the_answer_comes_back() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        got: Message = await receive()
        await start(send)
        await send({"type": "http.response.body", "body": f"{scope['path']} {scope['query_string']!r} ".encode()})
        await send({"type": "http.response.body", "body": got["body"]})

    async with client(app) as http:
        response = await http.post("/a/b%20c", params={"d": "e"}, content=b"body")
        assert (response.text, response.headers["x-a"]) == ("/a/b c b'd=e' body", "b")


async def test_pieces_come_as_they_are_sent_and_leaving_ends_the_app() -> None:
    left: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await start(send)
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        try:
            await receive()
        finally:
            left.append("canceled")

    async with client(app) as http:
        async with http.stream("GET", "/") as response:
            async for piece in response.aiter_bytes():
                assert piece == b"one"
                break
        await wait_until(lambda: left == ["canceled"])


@pytest.mark.parametrize("begun", [False, True])
async def test_what_the_app_raises_is_raised_here(begun: bool) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if begun:
            await start(send)
        raise ZeroDivisionError

    async with client(app) as http:
        with pytest.raises(ZeroDivisionError):
            await http.get("/")


async def test_a_caller_that_is_canceled_cancels_the_app() -> None:
    ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.sleep(30)
        finally:
            ended.set()

    async with client(app) as http:
        asking = asyncio.create_task(http.get("/"))
        await asyncio.sleep(0.02)
        asking.cancel()
        await asyncio.wait_for(ended.wait(), 5)
