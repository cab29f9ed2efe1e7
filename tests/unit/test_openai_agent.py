"""The openai agent against a server that speaks Chat Completions on a real socket, well and badly."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from hector.agents.base import Output, Text, Turn
from hector.agents.openai import OpenAIAgent
from hector.errors import AgentError
from hector.model import Message, Principal, Role, Session, Usage
from tests.support import said, wait_until

TURN = Turn(
    "t", Session("s", "a", Principal("p"), 0, 0, 0, 0, 0), said("What is my name?"),
    (said("My name is Alice"), Message.of(Role.AGENT, "Hello Alice")), "Be brief.",
)  # fmt: skip


@asynccontextmanager
async def model_server(answer: Callable[[Request], Awaitable[Response]]) -> AsyncIterator[str]:
    app = Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", timeout_graceful_shutdown=0))
    running = asyncio.create_task(server.serve())
    await wait_until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        await running


def agent(base_url: str, **settings: Any) -> OpenAIAgent:
    return OpenAIAgent(base_url=base_url, model="test-model", api_key="test-key", **settings)


async def outputs(base_url: str, **settings: Any) -> list[Output]:
    model = agent(base_url, **settings)
    try:
        return [output async for output in model.answer(TURN)]
    finally:
        await model.aclose()


def chunk(text: str | None = None, **more: Any) -> str:
    delta = {} if text is None else {"content": text}
    return f"data: {json.dumps({'choices': [{'index': 0, 'delta': delta, **more}]})}\n\n"


def streaming(*lines: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_: Request) -> Response:
        return StreamingResponse(iter(lines), media_type="text/event-stream")

    return answer


async def test_the_conversation_and_settings_are_sent_and_the_answer_streams() -> None:
    received: list[tuple[str, Any]] = []
    usage = json.dumps({"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 3}})

    async def answer(request: Request) -> Response:
        received.append((request.headers["authorization"], await request.json()))
        lines = (
            chunk("Al"),
            chunk("ice"),
            chunk(),
            chunk(finish_reason="stop"),
            f"data: {usage}\n\n",
            "data: [DONE]\n\n",
        )
        return StreamingResponse(iter(lines), media_type="text/event-stream")

    async with model_server(answer) as url:
        assert await outputs(url + "/", temperature=0.2, max_tokens=50) == [Text("Al"), Text("ice"), Usage(20, 3)]
    assert received == [
        ("Bearer test-key", {
            "model": "test-model", "stream": True, "stream_options": {"include_usage": True},
            "temperature": 0.2, "max_tokens": 50,
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "My name is Alice"},
                {"role": "assistant", "content": "Hello Alice"},
                {"role": "user", "content": "What is my name?"},
            ],
        }),
    ]  # fmt: skip


async def test_a_server_without_a_done_line_is_understood() -> None:
    async with model_server(streaming(chunk("Hi"), chunk(finish_reason="stop"))) as url:
        assert await outputs(url) == [Text("Hi")]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "model_unauthorized"), (403, "model_unauthorized"), (404, "model_not_found"), (429, "model_throttled"),
        (400, "model_refused"), (500, "model_refused"),
    ],
)  # fmt: skip
async def test_a_refusal_is_explained(status: int, code: str) -> None:
    async def answer(_: Request) -> Response:
        return JSONResponse({"error": {"message": "because of this"}}, status)

    async with model_server(answer) as url:
        with pytest.raises(AgentError, match=f"It said {status}: because of this") as raised:
            await outputs(url)
    assert raised.value.code == code


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([chunk("half")], "model_disconnected"),
        (["data: {broken\n\n"], "model_bad_answer"),
        (["data: []\n\n"], "model_bad_answer"),
        ([chunk("half"), 'data: {"error": {"message": "out of memory"}}\n\n'], "model_refused"),
    ],
)
async def test_a_stream_that_goes_wrong_is_a_failure(lines: list[str], code: str) -> None:
    async with model_server(streaming(*lines)) as url:
        with pytest.raises(AgentError) as raised:
            await outputs(url)
    assert raised.value.code == code


async def test_an_answer_that_is_no_stream_is_a_failure() -> None:
    async def answer(_: Request) -> Response:
        return JSONResponse({"hello": "there"})

    async with model_server(answer) as url:
        with pytest.raises(AgentError, match="did not answer with an event stream"):
            await outputs(url)


async def test_a_broken_connection_is_a_failure() -> None:
    async def answer(_: Request) -> Response:
        async def lines() -> AsyncIterator[str]:
            yield chunk("half")
            raise ConnectionResetError

        return StreamingResponse(lines(), media_type="text/event-stream")

    async with model_server(answer) as url:
        with pytest.raises(AgentError) as raised:
            await outputs(url)
    assert raised.value.code == "model_disconnected"


async def test_a_server_that_is_not_there_or_silent_is_a_failure() -> None:
    with pytest.raises(AgentError) as raised:
        await outputs("http://127.0.0.1:9/v1")
    assert raised.value.code == "model_unreachable"

    async def answer(_: Request) -> Response:
        await asyncio.sleep(1)
        return Response()

    async with model_server(answer) as url:
        with pytest.raises(AgentError) as raised:
            await outputs(url, idle_timeout=0.1)
    assert raised.value.code == "model_timeout"


async def test_cancelling_closes_the_connection_to_the_model() -> None:
    closed = asyncio.Event()

    async def answer(_: Request) -> Response:
        async def lines() -> AsyncIterator[str]:
            try:
                while True:
                    yield chunk("word ")
                    await asyncio.sleep(0.01)
            finally:
                closed.set()

        return StreamingResponse(lines(), media_type="text/event-stream")

    async with model_server(answer) as url:
        model = agent(url)
        answering = model.answer(TURN)
        assert await anext(answering) == Text("word ")
        await answering.aclose()
        await asyncio.wait_for(closed.wait(), 1)
        await model.aclose()
