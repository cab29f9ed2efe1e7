"""The openai agent: what is sent, and what differs between the many servers that speak Chat Completions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hector.agents.base import Text
from hector.errors import AgentError
from hector.model import Usage
from tests.agents.wires import WIRES, Wire, model_server, outputs, streaming


@pytest.fixture
def wire() -> Wire:
    return WIRES["openai"]


async def test_the_conversation_and_settings_are_sent(wire: Wire) -> None:
    received: list[tuple[str, Any]] = []

    async def answer(request: Request) -> Response:
        received.append((request.headers["authorization"], await request.json()))
        return await streaming(wire, wire.pieces("Alice"), wire.end())(request)

    async with model_server(wire, answer) as url:
        agent = wire.agent(url, base_url=f"{url}/v1/", temperature=0.2, max_tokens=50)
        assert await outputs(agent) == [Text("Alice"), Usage(20, 3)]
    assert received == [
        ("Bearer key", {
            "model": "m", "stream": True, "stream_options": {"include_usage": True},
            "temperature": 0.2, "max_tokens": 50,
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "My name is Alice"},
                {"role": "assistant", "content": "Hello Alice"},
                {"role": "user", "content": "What is my name?"},
            ],
        }),
    ]  # fmt: skip


async def test_a_server_without_a_done_line_is_understood(wire: Wire) -> None:
    async with model_server(wire, streaming(wire, wire.pieces("Hi"), wire.end()[:1])) as url:
        assert await outputs(wire.agent(url)) == [Text("Hi")]


@pytest.mark.parametrize(
    "line",
    [
        "{broken", "[]", "7", '{"choices": 7}', '{"choices": {}}', '{"choices": ["x"]}', '{"choices": [null]}',
        '{"choices": [{"delta": "x"}]}', '{"choices": [{"delta": {"content": 5}}]}',
        '{"choices": [{"delta": {"content": ["x"]}}]}', '{"choices": [{"delta": {}, "finish_reason": 7}]}',
    ],
)  # fmt: skip
async def test_a_chunk_of_another_shape_is_a_failure(wire: Wire, line: str) -> None:
    async with model_server(wire, streaming(wire, [f"data: {line}\n\n".encode()])) as url:
        with pytest.raises(AgentError) as raised:
            await outputs(wire.agent(url))
    assert raised.value.code == "model_bad_answer"


@pytest.mark.parametrize(
    ("usage", "taken"),
    [
        ({"prompt_tokens": 20, "completion_tokens": 3}, [Usage(20, 3)]),
        ({"prompt_tokens": 20}, [Usage(20, 0)]),
        (None, []), ({}, []), ({"total_tokens": 7}, []), ([1], []), ("much", []), (7, []),
        ({"prompt_tokens": None, "completion_tokens": "7"}, []),
        ({"prompt_tokens": -1, "completion_tokens": 7}, []),
        ({"prompt_tokens": 1.5, "completion_tokens": 7}, []),
    ],
)  # fmt: skip
async def test_a_usage_that_is_none_is_left_out(wire: Wire, usage: object, taken: list[Usage]) -> None:
    chunk = f"data: {json.dumps({'choices': None, 'usage': usage})}\n\n".encode()
    done = b"data: [DONE]\n\n"
    async with model_server(wire, streaming(wire, wire.pieces("Hi"), [chunk, done])) as url:
        assert await outputs(wire.agent(url)) == [Text("Hi"), *taken]


async def test_no_key_and_a_wrong_key_are_told_apart(wire: Wire) -> None:
    async def answer(_: Request) -> Response:
        return wire.refusal(401, "who are you?")

    async with model_server(wire, answer) as url:
        for key, code in (("none", "model_no_credentials"), ("wrong", "model_unauthorized")):
            with pytest.raises(AgentError, match=r"hector\.yaml") as raised:
                await outputs(wire.agent(url, api_key=key))
            assert raised.value.code == code


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (400, {"message": "Sorry.", "code": "context_length_exceeded"}, "context_overflow"),
        (400, {"message": "the request exceeds the available context size", "code": 400}, "context_overflow"),
        (400, {"message": "Sorry.", "code": "content_filter"}, "content_filtered"),
        (400, {"message": "temperature must be below 2", "code": None}, "model_refused"),
        (413, {"message": "too large"}, "context_overflow"),
        (400, "just text", "model_refused"),
    ],
)
async def test_what_servers_say_is_understood(wire: Wire, status: int, error: object, code: str) -> None:
    async def answer(_: Request) -> Response:
        return JSONResponse({"error": error}, status)

    async with model_server(wire, answer) as url:
        with pytest.raises(AgentError) as raised:
            await outputs(wire.agent(url))
    assert raised.value.code == code
    assert (error if isinstance(error, str) else json.loads(json.dumps(error))["message"]) in raised.value.message


async def test_an_error_page_that_is_not_json_is_quoted_in_part(wire: Wire) -> None:
    async def answer(_: Request) -> Response:
        return Response("<html>" + "x" * 10_000, 400)

    async with model_server(wire, answer) as url:
        with pytest.raises(AgentError, match="It said 400: <html>x") as raised:
            await outputs(wire.agent(url))
    assert len(raised.value.message) < 500
