"""The bedrock agent: what botocore sends, and what only Bedrock says."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from hector.agents.base import Text, Truncated
from hector.errors import AgentError
from hector.model import StopReason, Usage
from tests.agents.wires import TURN, WIRES, BedrockWire, Wire, model_server, outputs, streaming
from tests.support import wait_until

MODEL = "eu.anthropic.claude-sonnet-4-5-v1:0"


@pytest.fixture
def wire() -> Wire:
    return WIRES["bedrock"]


async def failure(wire: Wire, url: str = "http://127.0.0.1:9", **settings: Any) -> AgentError:
    with pytest.raises(AgentError) as raised:
        await outputs(wire.agent(url, **settings))
    return raised.value


async def test_the_conversation_and_settings_are_sent_and_signed(wire: Wire) -> None:
    received: list[tuple[str, Any]] = []
    signed: list[str] = []

    async def answer(request: Request) -> Response:
        received.append((request.path_params["model"], await request.json()))
        signed.append(request.headers["authorization"])
        return await streaming(wire, wire.pieces("Alice"), wire.end())(request)

    async with model_server(wire, answer) as url:
        agent = wire.agent(url, model=MODEL, temperature=0.2, max_tokens=50)
        assert await outputs(agent) == [Text("Alice"), Usage(20, 3)]
    assert received == [
        (MODEL, {
            "system": [{"text": "Be brief."}],
            "inferenceConfig": {"temperature": 0.2, "maxTokens": 50},
            "messages": [
                {"role": "user", "content": [{"text": "My name is Alice"}]},
                {"role": "assistant", "content": [{"text": "Hello Alice"}]},
                {"role": "user", "content": [{"text": "What is my name?"}]},
            ],
        }),
    ]  # fmt: skip
    assert "/eu-west-1/bedrock/aws4_request" in signed[0]


async def test_the_region_may_come_from_the_environment(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    error = await failure(wire, region=None)
    assert (error.code, "AWS_REGION" in error.message) == ("model_misconfigured", True)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert (await failure(wire, region=None)).code == "model_unreachable"


async def test_no_credentials(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    error = await failure(wire)
    assert (error.code, "AWS_ACCESS_KEY_ID" in error.message) == ("model_no_credentials", True)
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    assert (await failure(wire)).code == "model_no_credentials"


async def test_the_sdk_is_not_installed(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    error = await failure(wire)
    assert error.code == "sdk_missing"
    assert "pip install 'hector-serverless[bedrock]'" in error.message


async def test_a_botocore_without_the_service(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.loaders.Loader.list_available_services", lambda *_: ["dynamodb"])
    error = await failure(wire)
    assert (error.code, "bedrock-runtime" in error.message) == ("sdk_missing", True)


async def test_an_endpoint_that_is_no_url(wire: Wire) -> None:
    assert (await failure(wire, "http://")).code == "model_misconfigured"


@pytest.mark.parametrize(
    ("status", "kind", "message", "code"),
    [
        (400, "ValidationException", "The provided model identifier is invalid.", "model_not_found"),
        (400, "ValidationException", "Input is too long for requested model.", "context_overflow"),
        (400, "ValidationException", "temperature is too high", "model_refused"),
        (403, "ExpiredTokenException", "The security token is expired", "model_unauthorized"),
        (403, "AccessDeniedException", "You don't have access to the model", "model_unauthorized"),
        (408, "ModelTimeoutException", "too slow", "model_timeout"),
        (424, "ModelErrorException", "broken", "model_overloaded"),
        (429, "ModelNotReadyException", "warming up", "model_overloaded"),
        (429, "ThrottlingException", "Too many tokens, please wait", "model_throttled"),
    ],
)
async def test_what_bedrock_says_is_understood(wire: Wire, status: int, kind: str, message: str, code: str) -> None:
    async def answer(_: Request) -> Response:
        return JSONResponse({"message": message}, status, {"x-amzn-errortype": kind})

    async with model_server(wire, answer) as url:
        error = await failure(wire, url)
    assert (error.code, message in error.message) == (code, True)


async def test_a_guardrail_ends_the_turn_as_filtered(wire: Wire) -> None:
    blocked = streaming(wire, wire.pieces("Sorry, I cannot."), wire.end("guardrail_intervened"))
    async with model_server(wire, blocked) as url:
        error = await failure(wire, url)
    assert (error.code, "guardrail" in error.message) == ("content_filtered", True)


async def test_an_answer_cut_by_the_context_window_tells_so(wire: Wire) -> None:
    cut = streaming(wire, wire.pieces("half"), wire.end("model_context_window_exceeded"))
    async with model_server(wire, cut) as url:
        assert (await outputs(wire.agent(url)))[-1] == Truncated(StopReason.CONTEXT_WINDOW)


async def test_reasoning_is_not_part_of_the_answer(wire: BedrockWire) -> None:
    delta = {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "hmm"}}}
    thought = wire._event("contentBlockDelta", delta)
    async with model_server(wire, streaming(wire, [thought], wire.pieces("Hi"), wire.end())) as url:
        assert await outputs(wire.agent(url)) == [Text("Hi"), Usage(20, 3)]


async def test_frames_cut_anywhere_are_read(wire: Wire) -> None:
    whole = b"".join([*wire.pieces("Al", "ice"), *wire.end()])
    for size in (1, 7, 50):
        parts = [whole[start : start + size] for start in range(0, len(whole), size)]
        async with model_server(wire, streaming(wire, parts)) as url:
            assert await outputs(wire.agent(url)) == [Text("Al"), Text("ice"), Usage(20, 3)]


async def test_a_damaged_frame_is_a_failure(wire: Wire) -> None:
    *_, last = wire.pieces("text")
    async with model_server(wire, streaming(wire, [last[:-1] + bytes([last[-1] ^ 1])])) as url:
        assert (await failure(wire, url)).code == "model_bad_answer"


async def test_a_cancel_before_the_answer_begins_is_heard_at_once_and_closes_the_connection_when_it_does(
    wire: Wire,
) -> None:
    called, closed = asyncio.Event(), asyncio.Event()

    async def answer(_: Request) -> Response:
        async def frames() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield wire.pieces("word")[-1]
                    await asyncio.sleep(0.01)
            finally:
                closed.set()

        called.set()
        await asyncio.sleep(0.5)
        return StreamingResponse(frames(), media_type=wire.media_type)

    async with model_server(wire, answer) as url:
        agent = wire.agent(url)
        waiting = asyncio.ensure_future(anext(agent.answer(TURN)))
        await called.wait()
        waiting.cancel()
        done, _ = await asyncio.wait({waiting}, timeout=0.3)
        assert done
        await asyncio.wait_for(closed.wait(), 5)
        await agent.aclose()


async def test_no_thread_is_left_after_an_answer(wire: Wire) -> None:
    async with model_server(wire, streaming(wire, wire.pieces("Hi"), wire.end())) as url:
        await outputs(wire.agent(url))
    await wait_until(lambda: not [t for t in threading.enumerate() if t.name == "hector-agent"])
